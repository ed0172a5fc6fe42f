// A host that gives the page no token: the person types one in.

import assert from "node:assert/strict";

/** What the page asks for and is refused. */
const REFUSED = ["404 (Not Found)", "401 (Unauthorized)", "403 (Forbidden)", "400 (Bad Request)", "WebSocket connection"];

async function visitClosed(world, wishes = {}) {
  const visit = await world.visit({ at: world.closed, ...wishes });
  REFUSED.forEach((text) => visit.tolerate(text));
  await visit.page.locator("#door[open]").waitFor();
  return visit;
}

async function enter({ page }, token) {
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
}

export const cases = {
  async "a page without a token asks for one, and says what is wrong with another one"(world) {
    const visit = await visitClosed(world);
    const { page } = visit;
    assert.equal(await visit.focused(), "token");
    assert.ok(await page.locator("#door .reason").isHidden());
    await enter(visit, "nonsense");
    await page.locator("#door .reason", { hasText: "refused this token" }).waitFor();
    await enter(visit, world.token);
    await page.locator("#door[open]").waitFor({ state: "detached" });
    await visit.converse("canary with a token");
    assert.equal(await page.inputValue("#token"), "");
    await page.reload();
    await visit.ready();
    await visit.converse("canary still with it");
    await visit.tab();
    await visit.page.locator("#door[open]").waitFor();
  },

  async "a token is remembered only where the person says so"(world) {
    const visit = await visitClosed(world);
    await visit.page.locator("#remember").check();
    await enter(visit, world.token);
    await visit.page.locator("#door[open]").waitFor({ state: "detached" });
    await visit.tab();
    await visit.converse("canary remembered");
    assert.ok(await visit.page.locator("#door").isHidden());
  },

  async "a question waits until there is a token"(world) {
    const visit = await visitClosed(world);
    const { page } = visit;
    await page.keyboard.press("Escape");
    await page.locator("#notice", { hasText: "token" }).waitFor();
    await visit.ask("canary patient");
    await page.locator("#door[open]").waitFor();
    await enter(visit, world.token);
    await visit.reaches("done");
    assert.ok(await page.locator("#notice").isHidden());
    assert.equal(await world.model.timesAsked("canary patient"), 1);
  },

  async "the token is in no address of the page and in nothing that it keeps of a conversation"(world) {
    const visit = await visitClosed(world);
    await enter(visit, world.token);
    await visit.page.locator("#door[open]").waitFor({ state: "detached" });
    await visit.converse("canary discreet");
    assert.ok(!visit.page.url().includes(world.token));
    const kept = await visit.page.evaluate(() => JSON.stringify({ ...localStorage }));
    assert.ok(!kept.includes(world.token));
  },
};
