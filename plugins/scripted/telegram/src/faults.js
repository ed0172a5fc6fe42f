// What went wrong, as the contract has it: thrown where the contract returns an error.

const fault = (kind, reason, retryAfterMs = null) => ({ kind, reason, retryAfterMs });

export const invalid = (reason) => fault('invalid', reason);
export const unauthorized = (reason) => fault('unauthorized', reason);
export const throttled = (reason, retryAfterMs) => fault('throttled', reason, retryAfterMs);
export const unavailable = (reason, retryAfterMs) => fault('unavailable', reason, retryAfterMs);
export const uncertain = (reason) => fault('uncertain', reason);
export const gone = (reason) => fault('gone', reason);
export const internal = (reason) => fault('internal', reason);
export const other = (reason) => fault('other', reason);
