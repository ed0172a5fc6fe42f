// One request to the Bot API, and what its answer means.
//
// The host puts the bot's token into the path; it never enters this plugin.

import { send } from 'parlor:plugin/http@0.1.0';
import { gone, invalid, other, throttled, unauthorized, unavailable, uncertain } from './faults.js';
import { read, write } from './json.js';

const ORIGIN = 'https://api.telegram.org';
const BOT = 'bot${secret:bot_token}';
/** How long to wait where Telegram does not say it. */
const THROTTLED_MS = 5_000;

/** A refusal that leaves another way: `text` is Telegram's own description, in lower case. */
export class Refusal {
  constructor(answer) {
    this.text = String(answer.description ?? '').toLowerCase();
    this.movedTo = answer.parameters?.migrate_to_chat_id;
  }
}

/** The answer of a method; throws a fault, or a `Refusal` if the request was understood and refused. */
export function call(method, parameters, limitKey) {
  const response = exchange({
    method: 'POST',
    url: `${ORIGIN}/${BOT}/${method}`,
    headers: [['content-type', 'application/json']],
    body: [{ tag: 'bytes', val: write(parameters) }],
    timeoutMs: null,
    limitKey: String(limitKey),
  });
  const answer = read(response.body) ?? {};
  if (response.status === 200 && answer.ok === true) return answer;
  throw trouble(response, answer);
}

/** Where the bytes of a file are, with the place for the token still in it. */
export const fileUrl = (path) => `${ORIGIN}/file/${BOT}/${encodeURI(path)}`;

function exchange(request) {
  try {
    return send(request);
  } catch (error) {
    if (error.payload === undefined) throw error;
    throw unsent(error.payload);
  }
}

/** Telegram takes no key that would drop a repeat, so what may have got through is told as uncertain. */
function unsent({ kind, reason, requestSent, retryAfterMs }) {
  if (kind === 'throttled') return throttled(reason, retryAfterMs ?? THROTTLED_MS);
  if (requestSent) return uncertain(reason);
  return kind === 'denied' ? other(reason) : unavailable(reason, retryAfterMs);
}

function trouble(response, answer) {
  const { status } = response;
  if (status === 429) return throttled('Telegram says to slow down', waitMs(response, answer));
  if (status === 401 || status === 404) return unauthorized(`Telegram answered ${status}: check the bot's token`);
  if (status === 403) return gone('Telegram says that the bot may not write there (403)');
  if (status === 400) return new Refusal(answer);
  if (status === 413) return invalid('Telegram says that the request is too large (413)');
  // A gateway that gives up may have handed the message on.
  return uncertain(`Telegram answered ${status}`);
}

function waitMs(response, answer) {
  const header = response.headers.find(([name]) => name.toLowerCase() === 'retry-after');
  const seconds = Number(answer.parameters?.retry_after ?? header?.[1]);
  return Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds * 1000) : THROTTLED_MS;
}
