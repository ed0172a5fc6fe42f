// The list of conversations: kept in this browser, renamed, deleted, shared between tabs, bounded.

import assert from "node:assert/strict";
import { until } from "./world.mjs";

async function begin(visit, query) {
  await visit.page.locator(".fresh").first().click();
  await visit.converse(query);
}

const edit = async ({ page }, title) => {
  await page.locator(".entry", { hasText: title }).hover();
  await page.locator(".entry", { hasText: title }).locator("button").click();
};

export const cases = {
  async "a reload keeps the conversations, the one used last in front"(world) {
    const visit = await world.visit();
    await visit.converse("canary one");
    await begin(visit, "canary two");
    await begin(visit, "canary three");
    await visit.open("canary one");
    await visit.converse("more of canary one");
    await visit.page.reload();
    await visit.ready();
    assert.deepEqual(await visit.titles(), ["canary one", "canary three", "canary two"]);
    assert.deepEqual(await visit.page.locator(".person .text").allTextContents(), ["canary one", "more of canary one"]);
    assert.equal(await visit.page.locator(".entry a[aria-current]").textContent(), "canary one");
    assert.match(await visit.page.title(), /^canary one/);
    await visit.open("canary two");
    await visit.says("canary two");
  },

  async "the host goes on with a conversation that is taken up again"(world) {
    const visit = await world.visit();
    await visit.converse("canary session");
    const sessions = [];
    visit.page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sessions.push(JSON.parse(payload).session_id)));
    await visit.page.reload();
    await visit.ready();
    await visit.converse("canary session again");
    const id = new URL(visit.page.url()).hash.slice(1);
    assert.deepEqual(sessions.filter(Boolean), [id]);
  },

  async "a conversation is renamed and deleted"(world) {
    const visit = await world.visit();
    const { page } = visit;
    await visit.converse("canary name");
    await begin(visit, "canary other");
    await edit(visit, "canary name");
    await page.fill("#name", "A better name");
    await page.keyboard.press("Enter");
    await page.locator("#talks a", { hasText: "A better name" }).waitFor();
    assert.deepEqual(await visit.titles(), ["canary other", "A better name"]);
    await edit(visit, "canary other");
    assert.match(await page.locator("#edit").textContent(), /from this browser/);
    await page.locator("#edit .danger").click();
    await until("it is gone", async () => (await visit.titles()).length === 1);
    await page.locator("#welcome").waitFor();
    await page.reload();
    await visit.ready();
    assert.deepEqual(await visit.titles(), ["A better name"]);
  },

  async "all conversations are deleted at once, after a question"(world) {
    const visit = await world.visit();
    const { page } = visit;
    await visit.converse("canary all");
    await page.click("#clear");
    await page.keyboard.press("Enter");
    assert.deepEqual(await visit.titles(), ["canary all"]);
    await page.click("#clear");
    await page.locator("#sure .danger").click();
    await until("it is gone", async () => (await visit.titles()).length === 0);
    await page.locator("#welcome").waitFor();
    const kept = await page.evaluate(() => Object.entries(localStorage).join());
    assert.ok(!kept.includes("canary"), kept);
  },

  async "two tabs show the same conversations"(world) {
    const visit = await world.visit();
    const first = visit.page;
    await visit.converse("canary tab");
    await visit.tab();
    assert.deepEqual(await visit.titles(), ["canary tab"]);
    await visit.converse("canary other tab");
    await first.locator("#talks a", { hasText: "canary other tab" }).waitFor();
    await edit(visit, "canary tab");
    await visit.page.locator("#edit .danger").click();
    await until("it is gone in the first tab", async () => await first.locator("#talks a").count() === 1);
  },

  async "an answer under way in one tab is followed in another"(world) {
    const text = "canary both tabs";
    const visit = await world.visit();
    const first = visit.page;
    await world.model.hold(text);
    await visit.ask(text);
    await visit.says("answer");
    await visit.tab(new URL(first.url()).hash);
    await visit.says("answer");
    assert.equal(await visit.state(), "waiting");
    await world.model.release(text);
    await visit.reaches("done");
    await first.locator('.answer[data-state="done"]').waitFor();
    assert.equal(await world.model.timesAsked(text), 1);
  },

  async "the shelf is bounded: the oldest goes first"(world) {
    const visit = await world.visit();
    await visit.page.evaluate(() => {
      for (let at = 0; at < 100; at += 1) {
        localStorage.setItem(`parlor.head.page-${at}`, JSON.stringify({ title: `old ${at}`, used: at + 1, chars: 2 }));
        localStorage.setItem(`parlor.body.page-${at}`, "[]");
      }
    });
    await visit.converse("canary newest");
    const titles = await visit.titles();
    assert.deepEqual([titles.length, titles[0], titles.at(-1)], [100, "canary newest", "old 1"]);
    assert.match(await visit.page.locator("#kept").textContent(), /in this browser only.*100/);
  },

  async "a browser without room says so and talks on"(world) {
    const visit = await world.visit();
    await visit.page.evaluate(() => {
      let junk = "x".repeat(1 << 20);
      for (let at = 0; junk.length > 0; at += 1) {
        try {
          localStorage.setItem(`junk${at}`, junk);
        } catch {
          junk = junk.slice(0, junk.length >> 1);
        }
      }
    });
    await visit.converse("canary crowded");
    await visit.page.locator("#notice", { hasText: "no room" }).waitFor();
    assert.deepEqual(await visit.titles(), ["canary crowded"]);
  },

  async "what another page left in the storage breaks nothing"(world) {
    const visit = await world.visit();
    await visit.page.evaluate(() => {
      localStorage.setItem("parlor.head.page-a", "{not json");
      localStorage.setItem("parlor.head.page-b", '{"title":"bodiless","used":5}');
      localStorage.setItem("parlor.body.page-c", "[]");
      localStorage.setItem("parlor.head.page-d", '{"title":"damaged","used":6,"isWaiting":true}');
      localStorage.setItem("parlor.body.page-d", '[7,null,{"role":"answer","text":"","id":"x","state":"waiting"}]');
      localStorage.setItem("parlor.look", "purple");
      localStorage.setItem("parlor.language", "tlh");
    });
    await visit.page.reload();
    await visit.ready();
    await visit.converse("canary robust");
    assert.equal((await visit.titles())[0], "canary robust");
    await visit.open("damaged");
    await visit.reaches("failed");
    await visit.page.locator("#look").click();
  },
};
