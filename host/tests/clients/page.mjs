// Drives Chromium over the chat page, one line a case. `host/tests/page.rs` starts it and says in
// PARLOR_TEST_WORLD, as JSON, where everything is: chromium, modules, open and closed (two hosts, the second one
// wants a token), token, model (what the model does).
//
// PARLOR_TEST_PAGE_ONLY=words runs the cases with these words in their names. PARLOR_TEST_PAGE_SHOTS=folder makes
// the pictures of the README instead.

import path from "node:path";
import { World } from "./page/world.mjs";
import { cases as answers } from "./page/answers.mjs";
import { cases as files } from "./page/files.mjs";
import { cases as line } from "./page/line.mjs";
import { cases as reading } from "./page/reading.mjs";
import { cases as safety } from "./page/safety.mjs";
import { cases as shelf } from "./page/shelf.mjs";
import { cases as tokens } from "./page/tokens.mjs";
import { shoot } from "./page/shots.mjs";

/** Far more than any case takes on a busy machine. */
const PATIENCE_MS = 90_000;

const all = { ...files, ...answers, ...safety, ...line, ...shelf, ...tokens, ...reading };
const only = process.env.PARLOR_TEST_PAGE_ONLY ?? "";

async function runAll(world) {
  let failures = 0;
  for (const [name, run] of Object.entries(all).filter(([name]) => name.includes(only))) {
    const began = performance.now();
    const trouble = await troubleOf(run(world)) ?? await troubleOf(world.closeVisits());
    if (trouble) failures += 1;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(`${trouble ? "FAILED" : "ok    "} ${name} (${seconds} s)${trouble ? `\n${trouble}` : ""}`);
    if (trouble) await world.leaveVisits();
  }
  return failures;
}

async function troubleOf(running) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the case takes too long")), PATIENCE_MS);
  });
  return Promise.race([running, late]).then(() => null, (error) => error.stack).finally(() => clearTimeout(timer));
}

const world = await World.open(JSON.parse(process.env.PARLOR_TEST_WORLD));
const shots = process.env.PARLOR_TEST_PAGE_SHOTS;
const failures = shots ? await troubleOf(shoot(world, path.resolve(shots))) : await runAll(world);
if (typeof failures === "string") console.log(failures);
await world.close();
process.exit(failures ? 1 : 0);
