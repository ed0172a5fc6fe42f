// The page for everybody: by keyboard, on a phone, in both languages and both schemes, with a screen reader.

import assert from "node:assert/strict";
import { until } from "./world.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const WIDE = `# A heading that is longer than a phone is wide and has to be broken

${"Donaudampfschifffahrtsgesellschaft".repeat(5)} https://example.com/${"a".repeat(200)} \`${"code".repeat(40)}\`

| one column | another column | a third column | a fourth column |
|---|---|---|---|
| ${"word ".repeat(8)} | ${"long".repeat(20)} | x | y |

\`\`\`rust
fn ${"long_name_".repeat(20)}() {}
\`\`\`

1. ${"${".repeat(60)}

> ${"|".repeat(120)}
`;

async function assertAccessible(world, { page }, where) {
  await page.evaluate(world.axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  });
  assert.deepEqual(found, [], where);
}

/** Visible buttons, links and fields with a side below so many pixels. */
function smallTargets(page, least) {
  return page.evaluate((least) => {
    const targets = [...document.querySelectorAll("button, input, textarea, .entry a, label.check")];
    const boxes = targets.filter((each) => each.checkVisibility() && each.type !== "checkbox")
      .map((each) => ({ box: each.getBoundingClientRect(), name: each.id || each.className || each.tagName }));
    return boxes.filter(({ box }) => box.width > 0 && (box.height < least || box.width < least))
      .map(({ box, name }) => `${name} ${Math.round(box.width)}×${Math.round(box.height)}`);
  }, least);
}

/** What stands out of the screen's width. A phone lays a page out wider for it, so `innerWidth` would not tell. */
function overflow(page) {
  return page.evaluate((width) => {
    const frame = document.getElementById("scroll");
    const outside = [...document.querySelectorAll("#stage > *, header *, .person *, .answer > *, .prose > *, #ask > *")]
      .filter((each) => each.getBoundingClientRect().right > width).map((each) => each.id || each.tagName);
    return [...outside, document.scrollingElement.scrollWidth - width, frame.scrollWidth - frame.clientWidth]
      .filter((found) => typeof found === "string" || found > 0);
  }, page.viewportSize().width);
}

/** Waits until the drawer has come to rest: while it slides, a box of 44 pixels measures a hair less. */
const settled = (page) =>
  page.locator("#drawer").evaluate((drawer) => Promise.all(drawer.getAnimations().map(({ finished }) => finished)));

const colour = (page, selector, property) =>
  page.locator(selector).evaluate((each, property) => getComputedStyle(each)[property], property);

export const cases = {
  async "everything is done by keyboard alone"(world) {
    const visit = await world.visit();
    const { page } = visit;
    const { keyboard } = page;
    assert.equal(await visit.focused(), "query");
    await keyboard.type("canary first line");
    await keyboard.press("Shift+Enter");
    await keyboard.type("second line");
    await keyboard.press("Enter");
    await visit.reaches("done");
    assert.equal(await page.locator(".person .text").textContent(), "canary first line\nsecond line");
    await visit.tabTo("#panel .fresh", "Shift+Tab");
    await keyboard.press("Enter");
    await page.locator("#welcome").waitFor();
    assert.equal(await visit.focused(), "query");
    await visit.tabTo(".entry a", "Shift+Tab");
    await keyboard.press("Enter");
    await visit.says("canary first line");
    await visit.tabTo(".entry button", "Shift+Tab");
    await keyboard.press("Enter");
    await keyboard.type("By keyboard");
    await keyboard.press("Enter");
    await until("the new name", async () => (await visit.titles())[0] === "By keyboard");
    await visit.tabTo(".entry button");
    await keyboard.press("Enter");
    await keyboard.press("Escape");
    assert.equal(await page.locator("#edit[open]").count(), 0);
    await keyboard.press("Enter");
    await visit.tabTo("#edit .danger");
    await keyboard.press("Enter");
    await until("it is gone", async () => (await visit.titles()).length === 0);
  },

  async "whoever tabs sees where he is, and can skip to the field"(world) {
    const visit = await world.visit();
    const { page } = visit;
    await visit.converse("canary focus");
    assert.equal(await page.evaluate(() => document.querySelector("a, button, [tabindex]").id), "skip");
    await visit.tabTo("#skip");
    assert.ok((await page.locator("#skip").boundingBox()).y >= 0);
    const seen = new Set();
    for (let pressed = 0; pressed < 20; pressed += 1) {
      const shown = await page.evaluate(() => {
        const focused = document.activeElement;
        const frame = focused.id === "query" ? focused.form : focused;
        const { outlineStyle, borderColor } = getComputedStyle(frame);
        const isShown = outlineStyle !== "none" || (focused.id === "query" && borderColor !== getComputedStyle(document.querySelector(".plain")).borderColor);
        return [focused.id || focused.className || focused.tagName, isShown];
      });
      seen.add(shown[0]);
      assert.ok(shown[1] || shown[0] === "BODY", `${shown[0]} shows no focus`);
      await page.keyboard.press("Tab");
    }
    for (const name of ["fresh plain", "clear", "look", "language", "scroll", "query", "send"]) assert.ok(seen.has(name), name);
    await visit.tabTo("#skip");
    await page.keyboard.press("Enter");
    assert.equal(await visit.focused(), "query");
  },

  async "Enter chooses a character while an input method composes, and does not send"(world) {
    const visit = await world.visit({ locale: "zh-CN" });
    const { page } = visit;
    const wire = await page.context().newCDPSession(page);
    await page.focus("#query");
    await wire.send("Input.imeSetComposition", { text: "nihao", selectionStart: 5, selectionEnd: 5 });
    const enter = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13 };
    await wire.send("Input.dispatchKeyEvent", { type: "rawKeyDown", ...enter });
    await wire.send("Input.dispatchKeyEvent", { type: "keyUp", ...enter });
    assert.equal(await page.locator(".person").count(), 0);
    await wire.send("Input.insertText", { text: "你好 canary" });
    assert.equal(await page.inputValue("#query"), "你好 canary");
    await page.keyboard.press("Enter");
    await visit.reaches("done");
    assert.equal(await page.locator(".person .text").textContent(), "你好 canary");
  },

  async "a phone shows everything within its width, and the field above its keyboard"(world) {
    await world.model.script("canary wide", WIDE);
    const visit = await world.visit(PHONE);
    const { page } = visit;
    assert.deepEqual(await overflow(page), []);
    assert.deepEqual(await smallTargets(page, 44), []);
    await visit.converse(`canary ${"longword".repeat(30)}`);
    await visit.converse("canary wide");
    assert.deepEqual(await overflow(page), []);
    assert.deepEqual(await smallTargets(page, 44), []);
    const isInSight = async (height) => {
      const { y, height: own } = await page.locator("#ask").boundingBox();
      return y >= 0 && y + own <= height;
    };
    assert.ok(await isInSight(844));
    await page.setViewportSize({ width: 390, height: 420 });
    await until("the field is above the keyboard", () => isInSight(420));
    await page.setViewportSize({ width: 390, height: 844 });
    // A keyboard that lies over the page leaves the viewport and shrinks what is seen of it.
    await page.evaluate(() => {
      Object.defineProperty(visualViewport, "height", { value: 400, configurable: true });
      visualViewport.dispatchEvent(new Event("resize"));
    });
    assert.ok(await isInSight(400));
  },

  async "on a phone the conversations lie in a drawer"(world) {
    const visit = await world.visit(PHONE);
    const { page } = visit;
    await visit.converse("canary in the drawer");
    await page.tap("header .fresh");
    assert.ok(await page.locator("#talks").isHidden());
    await page.tap("#menu");
    await page.locator("#drawer[open] .entry a").waitFor();
    await settled(page);
    assert.deepEqual(await smallTargets(page, 44), []);
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#drawer[open]").count(), 0);
    await page.tap("#menu");
    await page.tap("#drawer .leave");
    assert.equal(await page.locator("#drawer[open]").count(), 0);
    await page.tap("#menu");
    await page.touchscreen.tap(380, 400);
    assert.equal(await page.locator("#drawer[open]").count(), 0);
    await page.tap("#menu");
    await page.tap("#drawer .entry a");
    await visit.says("canary in the drawer");
    assert.equal(await page.locator("#drawer[open]").count(), 0);
    await page.setViewportSize({ width: 1200, height: 800 });
    await page.locator("#side .entry a").waitFor();
  },

  async "the colours are the system's until somebody chooses"(world) {
    const visit = await world.visit({ colorScheme: "dark" });
    const { page } = visit;
    const ground = () => colour(page, "body", "backgroundColor");
    const dark = await ground();
    await page.emulateMedia({ colorScheme: "light" });
    await until("the page turns light", async () => await ground() !== dark);
    const light = await ground();
    await page.click("#look");
    await page.click("#look");
    assert.equal(await ground(), dark);
    assert.equal(await page.locator("#look").getAttribute("aria-label"), "Colours: Dark");
    await page.reload();
    await visit.ready();
    assert.equal(await ground(), dark);
    await page.click("#look");
    assert.equal(await ground(), light);
  },

  async "the language is the browser's until somebody chooses"(world) {
    const visit = await world.visit({ locale: "zh-CN" });
    const { page } = visit;
    const shown = async () => [
      await page.locator("html").getAttribute("lang"),
      await page.locator("#welcome h2").textContent(),
      await page.locator("#query").getAttribute("placeholder"),
      await page.locator("#send").getAttribute("aria-label"),
    ];
    assert.deepEqual(await shown(), ["zh-CN", "想聊点什么？", "输入消息", "发送"]);
    await page.click("#language");
    assert.deepEqual(await shown(), ["en", "What would you like to talk about?", "Message", "Send"]);
    await page.reload();
    await visit.ready();
    assert.equal((await shown())[0], "en");
    await page.click(".example >> nth=0");
    await visit.reaches("done");
    await page.click("#language");
    assert.equal(await visit.answer.locator(".copy-answer span").textContent(), "复制");
    assert.equal(await page.locator("#talks h3").textContent(), "今天");
  },

  async "both languages have every sentence"(world) {
    const { page } = await world.visit();
    const text = await page.evaluate(async () => {
      const module = document.querySelector('link[href^="/page/texts."]').href;
      return (await fetch(module)).text();
    });
    const [en, zh] = ["en", "zh"].map((name) => text.split(`  ${name}: {`)[1].split("\n  },")[0]);
    const keys = (table) => [...table.matchAll(/(\w+): (?=["(`{])/g)].map(([, key]) => key);
    assert.ok(keys(en).length > 50);
    assert.deepEqual(keys(zh), keys(en));
  },

  async "an accessibility checker finds nothing, in any colour, language and place"(world) {
    await world.model.script("canary wide", WIDE);
    for (const wishes of [{}, { colorScheme: "dark", locale: "zh-CN" }, { ...PHONE, colorScheme: "dark" }]) {
      const visit = await world.visit(wishes);
      const { page } = visit;
      const where = JSON.stringify(wishes);
      await assertAccessible(world, visit, `${where} empty`);
      await visit.converse("canary wide");
      await world.model.refuse("canary axe");
      await visit.ask("canary axe");
      await visit.reaches("failed");
      await assertAccessible(world, visit, `${where} conversation`);
      if (wishes.isMobile) {
        await page.tap("#menu");
        await settled(page);
        await assertAccessible(world, visit, `${where} drawer`);
      }
      await page.locator(".entry button").first().click();
      await assertAccessible(world, visit, `${where} edit`);
      await page.keyboard.press("Escape");
      await page.locator("#clear").click();
      await assertAccessible(world, visit, `${where} sure`);
    }
    const visit = await world.visit({ at: world.closed });
    visit.tolerate("404 (Not Found)");
    await visit.page.locator("#door[open]").waitFor();
    await assertAccessible(world, visit, "door");
  },

  async "nothing moves for who wants it still"(world) {
    await world.model.hold("canary still");
    const visit = await world.visit({ reducedMotion: "reduce" });
    await visit.ask("canary still");
    await visit.says("answer");
    const moving = await visit.page.evaluate(() => document.getAnimations().length);
    await world.model.release("canary still");
    await visit.reaches("done");
    assert.equal(moving, 0);
  },
};
