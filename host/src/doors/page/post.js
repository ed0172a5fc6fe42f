// What stands in for the line where no WebSocket passes, as behind some proxies and in functions: each question
// is one POST, its answer a stream of events. It speaks in the frames of line.js; a question of which the answer
// was lost cannot be joined again.

const CODES = { 401: "unauthorized", 413: "query_too_long", 429: "busy" };

export class Post {
  #pass;
  #on;
  #underWay = new Map();

  constructor(pass, on) {
    this.#pass = pass;
    this.#on = on;
  }

  /** @param {boolean} isAskedBefore  it may be under way already: asking once more would ask twice */
  async ask(question, isAskedBefore = false) {
    const { id } = question;
    if (isAskedBefore) return this.#on.event({ type: "error", id, code: "answer_broken" });
    const abort = new AbortController();
    this.#underWay.set(id, abort);
    try {
      await this.#converse(question, abort.signal);
    } catch {
      if (!abort.signal.aborted) this.#on.event({ type: "error", id, code: "away" });
    } finally {
      this.#underWay.delete(id);
    }
  }

  stop(id) {
    this.#underWay.get(id)?.abort();
    this.#underWay.delete(id);
    this.#on.event({ type: "stopped", id });
  }

  wake() {}

  async #converse({ id, query, session_id }, signal) {
    const token = await this.#pass.token();
    if (!token) return this.#on.event({ type: "error", id, code: "unauthorized" });
    const response = await fetch("/api/v1/chat", {
      method: "POST",
      headers: { "authorization": `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ query, session_id, stream: true }),
      signal,
    });
    if (!response.ok) return this.#refused(id, token, response);
    for await (const { type, data } of eventsOf(response)) {
      this.#on.event({ ...data, type, id });
      if (type !== "delta") return;
    }
    this.#on.event({ type: "error", id, code: "answer_broken" });
  }

  async #refused(id, token, response) {
    const { status, headers } = response;
    if (status === 401) this.#pass.refuse(token, "refused");
    if (status === 403) this.#pass.refuse(token, "unscoped");
    const body = await response.json().catch(() => null);
    const code = CODES[status] ?? body?.error?.code;
    const wait = Number(headers.get("retry-after")) || undefined;
    this.#on.event({ type: "error", id, code, message: body?.error?.message, retry_after: wait });
  }
}

/** The events of a server-sent stream, as {type, data}; comments are passed over. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    yield* blocks.map(eventOf).filter(Boolean);
  }
}

function eventOf(block) {
  const valueOf = (name) => block.split("\n").filter((line) => line.startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).trim()).join("\n");
  const data = valueOf("data");
  return data ? { type: valueOf("event"), data: JSON.parse(data) } : null;
}
