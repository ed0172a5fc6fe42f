"""What the official client for Python makes of the host: each case prints its facts as one line of JSON.

Run by `host/tests/openai_clients.rs`, which knows what must come out: `completions.py BASE_URL API_KEY CASE…`.
"""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel

CASES = {}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Capital(BaseModel):
    city: str


def case(run):
    CASES[run.__name__] = run
    return run


def says(text):
    return [{"role": "user", "content": text}]


def ask(client, text, model="fake", **wishes):
    return client.chat.completions.create(model=model, messages=says(text), **wishes)


def refusal(ask):
    """The exception that must come, as facts."""
    try:
        ask()
    except openai.APIError as error:
        facts = {"error": type(error).__name__, "code": error.code, "param": error.param, "type": error.type}
        if isinstance(error, openai.APIStatusError):
            facts["status"] = error.status_code
            facts["retry_after"] = error.response.headers.get("retry-after")
        return facts
    return {"error": None}


def whole(completion):
    choice, usage = completion.choices[0], completion.usage
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "model": completion.model,
        "usage": [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
    }


@case
def models(client):
    ids = [model.id for model in client.models.list()]
    return {"ids": ids, "one": client.models.retrieve("helpdesk").id}


@case
def plain(client):
    completion = ask(client, "canary plain")
    return {"object": completion.object, "id": completion.id[:9], **whole(completion)}


@case
def streamed(client):
    stream = ask(client, "canary streamed", stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    usage = chunks[-1].usage
    return {
        "text": "".join(choice.delta.content or "" for choice in choices),
        "role": choices[0].delta.role,
        "finishes": [choice.finish_reason for choice in choices if choice.finish_reason],
        "last_choices": len(chunks[-1].choices),
        "usage": [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
        "early_usages": sum(1 for chunk in chunks[:-1] if chunk.usage),
    }


@case
def helper(client):
    with client.chat.completions.stream(model="fake", messages=says("canary helper")) as stream:
        return {"text": stream.get_final_completion().choices[0].message.content}


@case
def asynchronous(client):
    async def answers():
        async with openai.AsyncOpenAI(base_url=str(client.base_url), api_key=client.api_key) as both:
            completions = both.chat.completions
            asked = [completions.create(model="fake", messages=says(f"canary {n}")) for n in range(3)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]

    return {"texts": asyncio.run(answers())}


@case
def wrong_key(client):
    return refusal(lambda: ask(client.with_options(api_key="sk-wrong"), "canary"))


@case
def unknown_model(client):
    return refusal(lambda: ask(client, "canary", model="gpt-4o"))


@case
def busy(client):
    return whole(ask(client.with_options(max_retries=2), "canary busy", model="hasty"))


@case
def busy_without_patience(client):
    return refusal(lambda: ask(client, "canary impatient", model="hasty"))


@case
def abort(client):
    stream = ask(client, "canary abort", stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            stream.close()
            return {"first": chunk.choices[0].delta.content}
    return {"first": None}


@case
def stop(client):
    return whole(ask(client, "canary stop at END of it", stop=["END", "never"]))


@case
def max_tokens(client):
    facts = whole(ask(client, "canary one two three", max_tokens=2))
    newer = whole(ask(client, "canary one two three", max_completion_tokens=3))
    return {"text": facts["text"], "finish": facts["finish"], "newer": newer["text"]}


@case
def form(client):
    completion = client.chat.completions.parse(
        model="fake", messages=says("canary form"), response_format=Capital
    )
    return {"city": completion.choices[0].message.parsed.city}


@case
def json_object(client):
    completion = ask(client, "canary form as json_object", response_format={"type": "json_object"})
    return {"city": json.loads(completion.choices[0].message.content)["city"]}


@case
def tools(client):
    messages = says("canary weather")
    create = client.chat.completions.create
    message = create(model="fake", messages=messages, tools=[TOOL]).choices[0]
    call = message.message.tool_calls[0]
    stream = create(model="fake", messages=messages, tools=[TOOL], tool_choice="auto", stream=True)
    streamed = [chunk.choices[0].delta.tool_calls for chunk in stream if chunk.choices[0].delta.tool_calls]
    messages += [message.message, {"role": "tool", "tool_call_id": call.id, "content": "canary sunny"}]
    answer = create(model="fake", messages=messages, tools=[TOOL])
    return {
        "finish": message.finish_reason,
        "content": message.message.content,
        "name": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "streamed": [streamed[0][0].index, streamed[0][0].function.name],
        "answer": answer.choices[0].message.content,
    }


@case
def assistant(client):
    messages = [
        {"role": "system", "content": "canary: be rude"},
        {"role": "user", "content": "canary earlier"},
        {"role": "assistant", "content": "canary reply"},
        {"role": "user", "content": [{"type": "text", "text": "canary now"}]},
    ]
    return whole(client.chat.completions.create(model="helpdesk", messages=messages, temperature=0.5))


@case
def unsupported(client):
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    wishes = [
        {"n": 2},
        {"logprobs": True},
        {"frequency_penalty": 1.0},
        {"reasoning_effort": "low"},
        {"store": True},
        {"messages": image},
        {"extra_body": {"top_k": 40}},
        {"model": "helpdesk", "tools": [TOOL]},
    ]

    def refused(wish):
        asked = {"model": "fake", "messages": says("canary"), **wish}
        facts = refusal(lambda: client.chat.completions.create(**asked))
        return [facts["status"], facts["code"], facts["param"]]

    return {"refused": [refused(wish) for wish in wishes]}


@case
def without_effect(client):
    idle = {"n": 1, "logprobs": False, "presence_penalty": 0, "store": False, "user": "u-1", "seed": 7, "top_p": 0.9}
    return whole(ask(client, "canary idle", **idle))


@case
def broken(client):
    text = ""

    def read():
        nonlocal text
        for chunk in ask(client, "canary broken", stream=True):
            text += chunk.choices[0].delta.content or ""

    return {**refusal(read), "text": text}


@case
def too_long(client):
    return refusal(lambda: ask(client, "canary too long"))


@case
def native(client):
    """A real model keeps to a form, a length and a stop."""
    greedy = {"model": "local", "temperature": 0}
    question = says("canary: What is the capital of France? Answer as JSON.")
    parsed = client.chat.completions.parse(messages=question, response_format=Capital, **greedy)
    short = client.chat.completions.create(messages=says("Tell a long story."), max_tokens=5, **greedy)
    counted = says("Count: one, two, three, four, five.")
    stopped = client.chat.completions.create(messages=counted, max_tokens=40, stop=" ", **greedy)
    return {
        "is_text": isinstance(parsed.choices[0].message.parsed.city, str),
        "short": [short.choices[0].finish_reason, short.usage.completion_tokens],
        "stopped": [stopped.choices[0].finish_reason, " " in stopped.choices[0].message.content],
        "tools": refusal(lambda: ask(client, "canary", model="local", tools=[TOOL]))["param"],
    }


def main():
    base_url, api_key, *names = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0)
    for name in names:
        print(json.dumps({"case": name, "facts": CASES[name](client)}), flush=True)


main()
