// The line drops, the host goes away, the page is loaded anew: an answer comes all the same, and is asked once.

import assert from "node:assert/strict";
import { Front } from "./front.mjs";
import { until } from "./world.mjs";

/** Chromium tells of every broken connection. */
const BROKEN = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_SOCKET", "WebSocket connection", "400 (Bad Request)"];

async function through(world, run) {
  const front = await Front.open(world.open);
  try {
    const visit = await world.visit({ at: front.url });
    BROKEN.forEach((text) => visit.tolerate(text));
    await run(front, visit);
  } finally {
    front.close();
  }
}

export const cases = {
  async "answers come over a WebSocket"(world) {
    const visit = await world.visit();
    await visit.converse("canary over the line");
    const sockets = visit.requests.filter((url) => url.startsWith("ws://"));
    assert.equal(sockets.length, 1);
    assert.ok(!visit.requests.some((url) => url.endsWith("/api/v1/chat")));
  },

  async "a dropped line is taken up again where it was"(world) {
    const text = "canary dropped";
    await through(world, async (front, visit) => {
      await world.model.script(text, "Before the drop and **after** it.");
      await world.model.hold(text);
      await visit.ask(text);
      await visit.says("Before");
      for (let drops = 0; drops < 3; drops += 1) {
        const opened = visit.page.waitForEvent("websocket");
        front.cut();
        await opened;
      }
      await world.model.release(text);
      await visit.reaches("done");
      assert.equal(await visit.said(), "Before the drop and after it.");
      assert.equal(await world.model.timesAsked(text), 1);
    });
  },

  async "what happened while the line was down is caught up with"(world) {
    const text = "canary offline";
    await through(world, async (front, visit) => {
      await world.model.hold(text);
      await visit.ask(text);
      await visit.says("answer");
      front.let("refuse");
      front.cut();
      await visit.page.locator("#notice", { hasText: "No connection" }).waitFor();
      await world.model.release(text);
      front.let("pass");
      await visit.page.locator("#notice button").click();
      await visit.reaches("done");
      assert.equal(await visit.said(), `answer to <${text}>`);
      assert.ok(await visit.page.locator("#notice").isHidden());
      assert.equal(await world.model.timesAsked(text), 1);
    });
  },

  async "a question asked without a line is sent when there is one"(world) {
    await through(world, async (front, visit) => {
      await visit.converse("canary first");
      front.let("refuse");
      front.cut();
      await visit.ask("canary unsent");
      await visit.page.locator("#notice", { hasText: "No connection" }).waitFor();
      assert.equal(await world.model.timesAsked("canary unsent"), 0);
      front.let("pass");
      await visit.page.evaluate(() => window.dispatchEvent(new Event("online")));
      await visit.reaches("done");
      assert.equal(await world.model.timesAsked("canary unsent"), 1);
    });
  },

  async "a stop without a line is told when there is one"(world) {
    const text = "canary unstopped";
    await through(world, async (front, visit) => {
      await world.model.hold(text);
      const { left } = await world.model.seen();
      await visit.ask(text);
      await visit.says("answer");
      front.let("refuse");
      front.cut();
      await visit.page.keyboard.press("Escape");
      await visit.reaches("stopped");
      front.let("pass");
      await until("the model is left alone", async () => (await world.model.seen()).left > left);
    });
  },

  async "a page loaded anew goes on with the answer that was under way"(world) {
    const text = "canary reloaded";
    const visit = await world.visit();
    await world.model.hold(text);
    await visit.ask(text);
    await visit.says("answer");
    await visit.page.reload();
    await visit.ready();
    assert.deepEqual(await visit.titles(), [text]);
    await visit.says("answer");
    assert.equal(await visit.state(), "waiting");
    await world.model.release(text);
    await visit.reaches("done");
    assert.equal(await visit.said(), `answer to <${text}>`);
    assert.equal(await world.model.timesAsked(text), 1);
  },

  async "where no WebSocket passes, plain requests do"(world) {
    const front = await Front.open(world.open);
    front.let("plain");
    const visit = await world.visit({ at: front.url });
    BROKEN.forEach((text) => visit.tolerate(text));
    await visit.converse("canary by post");
    assert.equal(await visit.said(), "answer to <canary by post>");
    await world.model.hold("canary posted");
    const { left } = await world.model.seen();
    await visit.ask("canary posted");
    await visit.says("answer");
    await visit.page.keyboard.press("Escape");
    await visit.reaches("stopped");
    await until("the model is left alone", async () => (await world.model.seen()).left > left);
    assert.ok(visit.requests.some((url) => url.endsWith("/api/v1/chat")));
    await visit.page.close();
    front.close();
  },
};
