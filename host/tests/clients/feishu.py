"""The official client of Feishu's open platform (lark-oapi), as a second opinion.

One JSON object on standard input: what to do, and with what; one on standard output: what came of it.

judge   the official dispatcher's verdict on each request to a webhook
read    each request that we sent, read by the official models, and its card by the official parser
drive   the official client sends a reply that grows through a platform
"""

import json
import sys

import lark_oapi as lark
from lark_oapi.api.cardkit.v1 import model as cardkit
from lark_oapi.api.im.v1 import model as im
from lark_oapi.channel.normalize.flatten import flatten
from lark_oapi.channel.normalize.registry import parse_message_content
from lark_oapi.core.model import RawRequest

MODELS = [
    ("/reply", im.ReplyMessageRequestBody),
    ("/content", cardkit.ContentCardElementRequestBody),
    ("/settings", cardkit.SettingsCardRequestBody),
    ("PATCH /open-apis/im/", im.PatchMessageRequestBody),
    ("POST /open-apis/cardkit/v1/cards", cardkit.CreateCardRequestBody),
    ("PUT /open-apis/cardkit/v1/cards/", cardkit.UpdateCardRequestBody),
]


def judge(encrypt_key, token, requests):
    handled = []
    builder = lark.EventDispatcherHandler.builder(encrypt_key, token, lark.LogLevel.CRITICAL)
    handler = builder.register_p2_im_message_receive_v1(lambda data: handled.append(data)).build()
    verdicts = []
    for request in requests:
        handled.clear()
        raw = RawRequest()
        raw.uri, raw.body, raw.headers = "/", request["body"].encode(), request["headers"]
        response = handler.do(raw)
        told = (response.content or b"").decode()
        verdict = "message" if handled else "answer" if response.status_code == 200 else "refused"
        message = handled[0].event.message.message_id if handled else None
        verdicts.append({"verdict": verdict, "message": message, "body": told})
    return verdicts


def unknown_fields(model, fields):
    """Names and types that the official model does not have, at any depth."""
    wrong = []
    for name, value in fields.items():
        kind = model._types.get(name)
        if kind is None:
            wrong.append(name)
        elif isinstance(value, dict) and hasattr(kind, "_types"):
            wrong += unknown_fields(kind, value)
        elif kind in (str, int, bool) and type(value) is not kind:
            wrong.append(f"{name}: {type(value).__name__}")
    return wrong


def card_of(body):
    """The card's JSON text inside a request, if there is one."""
    for text in (body.get("data"), (body.get("card") or {}).get("data"), body.get("content")):
        if text and text.startswith('{"body"'):
            return text
    return None


def words_of(call):
    """What a person would read of a request, by the official parser of cards."""
    card = card_of(call["body"])
    if card:
        return flatten(parse_message_content("interactive", card))[0]
    return call["body"].get("content") if call["line"].endswith("/content") else None


def read(calls):
    model_of = lambda line: next(model for part, model in MODELS if part in line)
    return [
        {
            "line": call["line"],
            "unknown": unknown_fields(model_of(call["line"]), call["body"]),
            "words": words_of(call),
        }
        for call in calls
    ]


def drive(origin, app_id, app_secret, message):
    builder = lark.Client.builder().app_id(app_id).app_secret(app_secret).domain(origin)
    client = builder.log_level(lark.LogLevel.CRITICAL).build()
    codes = []

    def note(response):
        codes.append(response.code)
        return getattr(response, "data", None)

    def reply(content, key):
        body = im.ReplyMessageRequestBody.builder().msg_type("interactive").content(content).uuid(key).build()
        request = im.ReplyMessageRequest.builder().message_id(message).request_body(body).build()
        return note(client.im.v1.message.reply(request))

    def write(card, text, sequence):
        body = cardkit.ContentCardElementRequestBody.builder().content(text).sequence(sequence).build()
        request = cardkit.ContentCardElementRequest.builder().card_id(card).element_id("answer")
        note(client.cardkit.v1.card_element.content(request.request_body(body).build()))

    def settings(card, grows, sequence):
        text = json.dumps({"config": {"streaming_mode": grows}})
        body = cardkit.SettingsCardRequestBody.builder().settings(text).sequence(sequence).build()
        note(client.cardkit.v1.card.settings(cardkit.SettingsCardRequest.builder().card_id(card).request_body(body).build()))

    def card_text(words, grows):
        element = {"tag": "markdown", "element_id": "answer", "content": words}
        return json.dumps({"schema": "2.0", "config": {"streaming_mode": grows, "update_multi": True}, "body": {"elements": [element]}})

    body = cardkit.CreateCardRequestBody.builder().type("card_json").data(card_text("…", True)).build()
    created = note(client.cardkit.v1.card.create(cardkit.CreateCardRequest.builder().request_body(body).build()))
    card = created.card_id
    shown = reply(json.dumps({"type": "card", "data": {"card_id": card}}), "k-1")
    again = reply(json.dumps({"type": "card", "data": {"card_id": card}}), "k-1")
    write(card, "one", 1)
    write(card, "one two", 2)
    write(card, "late", 2)
    settings(card, False, 3)
    write(card, "after the end", 4)
    placed = reply(card_text("first", False), "k-2")
    body = im.PatchMessageRequestBody.builder().content(card_text("second", False)).build()
    request = im.PatchMessageRequest.builder().message_id(placed.message_id).request_body(body).build()
    note(client.im.v1.message.patch(request))
    request = im.GetMessageRequest.builder().message_id(message).build()
    told = note(client.im.v1.message.get(request))
    return {
        "codes": codes,
        "is_one_message": shown.message_id == again.message_id,
        "asked": told.items[0].body.content,
    }


WORK = {"judge": judge, "read": read, "drive": drive}
task = json.load(sys.stdin)
json.dump({name: WORK[name](**arguments) for name, arguments in task.items()}, sys.stdout)
