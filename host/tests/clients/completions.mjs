// What the official client for Node makes of the host: each case prints its facts as one line of JSON.
//
// Run by `host/tests/openai_clients.rs`, which knows what must come out: `completions.mjs BASE_URL API_KEY CASE…`,
// with the folder `node_modules` in `PARLOR_TEST_NODE_MODULES`.

import { pathToFileURL } from "node:url";

const folder = pathToFileURL(`${process.env.PARLOR_TEST_NODE_MODULES}/`);
const { default: OpenAI } = await import(new URL("openai/index.mjs", folder));

const TOOL = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const CAPITAL = {
  type: "json_schema",
  json_schema: {
    name: "Capital",
    strict: true,
    schema: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

const says = (text) => [{ role: "user", content: text }];

const ask = (client, text, wishes = {}) =>
  client.chat.completions.create({ model: "fake", messages: says(text), ...wishes });

/** The exception that must come, as facts. */
async function refusal(ask) {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const facts = { error: error.constructor.name, code: error.code, param: error.param, type: error.type };
    if (error.status !== undefined) {
      facts.status = error.status;
      facts.retry_after = error.headers.get("retry-after");
    }
    return facts;
  }
  return { error: null };
}

function whole(completion) {
  const { message, finish_reason: finish } = completion.choices[0];
  const { prompt_tokens: prompt, completion_tokens: completed, total_tokens: total } = completion.usage;
  return { text: message.content, finish, model: completion.model, usage: [prompt, completed, total] };
}

const CASES = {
  async models(client) {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: (await client.models.retrieve("helpdesk")).id };
  },

  async plain(client) {
    const completion = await ask(client, "canary plain");
    return { object: completion.object, id: completion.id.slice(0, 9), ...whole(completion) };
  },

  async streamed(client) {
    const stream = await ask(client, "canary streamed", { stream: true, stream_options: { include_usage: true } });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    const last = chunks.pop();
    const { prompt_tokens: prompt, completion_tokens: completed, total_tokens: total } = last.usage;
    return {
      text: choices.map((choice) => choice.delta.content ?? "").join(""),
      role: choices[0].delta.role,
      finishes: choices.map((choice) => choice.finish_reason).filter(Boolean),
      last_choices: last.choices.length,
      usage: [prompt, completed, total],
      early_usages: chunks.filter((chunk) => chunk.usage).length,
    };
  },

  async helper(client) {
    const stream = client.chat.completions.stream({ model: "fake", messages: says("canary helper") });
    return { text: (await stream.finalChatCompletion()).choices[0].message.content };
  },

  async asynchronous(client) {
    const answers = await Promise.all([0, 1, 2].map((n) => ask(client, `canary ${n}`)));
    return { texts: answers.map((answer) => answer.choices[0].message.content) };
  },

  wrong_key: (client) => refusal(() => ask(client.withOptions({ apiKey: "sk-wrong" }), "canary")),

  unknown_model: (client) => refusal(() => ask(client, "canary", { model: "gpt-4o" })),

  async busy(client) {
    return whole(await ask(client.withOptions({ maxRetries: 2 }), "canary busy", { model: "hasty" }));
  },

  busy_without_patience: (client) => refusal(() => ask(client, "canary impatient", { model: "hasty" })),

  async abort(client) {
    const stream = await ask(client, "canary abort", { stream: true });
    for await (const chunk of stream) {
      if (!chunk.choices[0].delta.content) continue;
      stream.controller.abort();
      return { first: chunk.choices[0].delta.content };
    }
    return { first: null };
  },

  async stop(client) {
    return whole(await ask(client, "canary stop at END of it", { stop: ["END", "never"] }));
  },

  async max_tokens(client) {
    const { text, finish } = whole(await ask(client, "canary one two three", { max_tokens: 2 }));
    const newer = whole(await ask(client, "canary one two three", { max_completion_tokens: 3 }));
    return { text, finish, newer: newer.text };
  },

  async form(client) {
    const asked = { model: "fake", messages: says("canary form"), response_format: CAPITAL };
    const completion = await client.chat.completions.parse(asked);
    return { city: completion.choices[0].message.parsed.city };
  },

  async json_object(client) {
    const form = { response_format: { type: "json_object" } };
    const completion = await ask(client, "canary form as json_object", form);
    return { city: JSON.parse(completion.choices[0].message.content).city };
  },

  async tools(client) {
    const create = (wishes) => client.chat.completions.create({ model: "fake", tools: [TOOL], ...wishes });
    const messages = says("canary weather");
    const { message, finish_reason: finish } = (await create({ messages })).choices[0];
    const call = message.tool_calls[0];
    const streamed = [];
    for await (const chunk of await create({ messages, tool_choice: "auto", stream: true })) {
      streamed.push(...(chunk.choices[0].delta.tool_calls ?? []));
    }
    messages.push(message, { role: "tool", tool_call_id: call.id, content: "canary sunny" });
    const answer = await create({ messages });
    return {
      finish,
      content: message.content,
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
      streamed: [streamed[0].index, streamed[0].function.name],
      answer: answer.choices[0].message.content,
    };
  },

  async assistant(client) {
    const messages = [
      { role: "system", content: "canary: be rude" },
      { role: "user", content: "canary earlier" },
      { role: "assistant", content: "canary reply" },
      { role: "user", content: [{ type: "text", text: "canary now" }] },
    ];
    const asked = { model: "helpdesk", messages, temperature: 0.5 };
    return whole(await client.chat.completions.create(asked));
  },

  async unsupported(client) {
    const image = [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }];
    const wishes = [
      { n: 2 },
      { logprobs: true },
      { frequency_penalty: 1 },
      { reasoning_effort: "low" },
      { store: true },
      { messages: image },
      { top_k: 40 },
      { model: "helpdesk", tools: [TOOL] },
    ];
    const refused = [];
    for (const wish of wishes) {
      const { status, code, param } = await refusal(() => ask(client, "canary", wish));
      refused.push([status, code, param]);
    }
    return { refused };
  },

  async without_effect(client) {
    const idle = { n: 1, logprobs: false, presence_penalty: 0, store: false, user: "u-1", seed: 7, top_p: 0.9 };
    return whole(await ask(client, "canary idle", idle));
  },

  async broken(client) {
    let text = "";
    const facts = await refusal(async () => {
      for await (const chunk of await ask(client, "canary broken", { stream: true })) {
        text += chunk.choices[0].delta.content ?? "";
      }
    });
    return { ...facts, text };
  },

  too_long: (client) => refusal(() => ask(client, "canary too long")),

  /** A real model keeps to a form, a length and a stop. */
  async native(client) {
    const greedy = (text, wishes) => ask(client, text, { model: "local", temperature: 0, ...wishes });
    const question = "canary: What is the capital of France? Answer as JSON.";
    const formed = await greedy(question, { response_format: CAPITAL });
    const short = await greedy("Tell a long story.", { max_tokens: 5 });
    const stopped = await greedy("Count: one, two, three, four, five.", { max_tokens: 40, stop: " " });
    const refused = await refusal(() => ask(client, "canary", { model: "local", tools: [TOOL] }));
    return {
      is_text: typeof JSON.parse(formed.choices[0].message.content).city === "string",
      short: [short.choices[0].finish_reason, short.usage.completion_tokens],
      stopped: [stopped.choices[0].finish_reason, stopped.choices[0].message.content.includes(" ")],
      tools: refused.param,
    };
  },
};

const [baseURL, apiKey, ...names] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
for (const name of names) {
  console.log(JSON.stringify({ case: name, facts: await CASES[name](client) }));
}
// a connection that was aborted would keep the process for a while
process.exit(0);
