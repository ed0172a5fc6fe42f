// The operator's settings of this channel.

import { get } from 'parlor:plugin/settings@0.1.0';

/** The value of a setting; `undefined` if it is unset. */
export function setting(name) {
  const json = get(name);
  return json === null || json === undefined ? undefined : JSON.parse(json);
}
