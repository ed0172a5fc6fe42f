// Who may: the secret that was named in `setWebhook`, compared by the host in constant time.
//
// It is no signature: it does not cover the body.

import { equals } from 'parlor:plugin/secrets@0.1.0';
import { unauthorized } from './faults.js';
import { encode } from './utf8.js';

const HEADER = 'x-telegram-bot-api-secret-token';
const SECRET = 'secret_token';

/** Throws one and the same fault whatever is wrong, so that it tells nothing. */
export function verify(request) {
  const presented = request.headers.filter(([name]) => name === HEADER);
  if (presented.length !== 1 || !isSecret(presented[0][1])) {
    throw unauthorized('the request does not carry the secret token of this channel');
  }
}

function isSecret(presented) {
  const bytes = encode(presented);
  try {
    return equals(SECRET, bytes);
  } catch (error) {
    // What the host says stands in `payload`: a channel without this secret lets nobody in.
    if (error.payload === undefined) throw error;
    return false;
  }
}
