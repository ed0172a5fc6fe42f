// Answers while they come: they grow, stop, fail, are asked again, are copied, and stay in sight.

import assert from "node:assert/strict";
import { until } from "./world.mjs";

const LONG = Array.from({ length: 120 }, (_, at) => `Paragraph ${at} of a long answer.`).join("\n\n");
/** Every block that Markdown has, one into the other. */
const RICH = `# Title

Words with **strong**, *soft*, ~~gone~~, \`code\`, https://example.com/a and [a link](https://example.com "t").
A second line.

Setext
------

1. one

   more of one
2. two
   - deep
     \`\`\`js
     const a = "<b>";
     \`\`\`
3. three

> quote
> - in it
lazy

| a | b |
|:-:|--:|
| 1 | 2 |

\`\`\`
open *code*

still
\`\`\`

    indented

---

See [one] and [two][].

[one]: https://example.com/1
[two]: https://example.com/2
`;

/** Where a module of the page lies: its name has a hash. */
const moduleAt = (page, name) =>
  page.locator(`link[rel="modulepreload"][href^="/page/${name}."]`).getAttribute("href");

export const cases = {
  async "an answer grows while it is written, and is Markdown"(world) {
    const text = "canary grows";
    await world.model.script(text, "First **words** and then:\n\n- one\n- two\n\n`code` ends it.");
    await world.model.hold(text);
    const visit = await world.visit();
    await visit.ask(text);
    await visit.says("First");
    assert.equal(await visit.state(), "waiting");
    assert.equal(await visit.answer.getAttribute("aria-busy"), "true");
    assert.equal(await visit.prose.locator("li").count(), 0);
    await world.model.release(text);
    await visit.reaches("done");
    assert.deepEqual(await visit.prose.locator("li").allTextContents(), ["one", "two"]);
    assert.equal(await visit.prose.locator("strong").textContent(), "words");
    assert.match(await visit.page.locator("#announcer").textContent(), /code ends it\.$/);
    assert.equal(await visit.focused(), "query");
  },

  async "an answer that grew letter by letter looks as if it had come at once"(world) {
    const { page } = await world.visit();
    const grown = await page.evaluate(async ([module, text]) => {
      const { Prose } = await import(module);
      const [grown, whole] = [document.createElement("div"), document.createElement("div")];
      const prose = new Prose(grown);
      const kept = new Set();
      for (let end = 1; end <= text.length; end += 1) {
        prose.grow(text.slice(0, end));
        kept.add(grown.firstElementChild);
      }
      prose.finish(text);
      new Prose(whole).show(text);
      return { isSame: grown.innerHTML === whole.innerHTML, kept: kept.size, html: grown.innerHTML };
    }, [await moduleAt(page, "prose"), RICH]);
    assert.ok(grown.isSame);
    // The title is made anew until something follows, and then no more.
    assert.ok(grown.kept <= "# Title\n\nW".length, `made ${grown.kept} times`);
    for (const part of ['<td align="right">2</td>', '<a href="https://example.com/2"', "<blockquote>", "<hr>", "<h2>Setext</h2>", "<s>gone</s>", "language-js"]) {
      assert.ok(grown.html.includes(part), `${part} in ${grown.html}`);
    }
  },

  async "the button and Esc stop the model"(world) {
    const visit = await world.visit();
    for (const stop of [() => visit.page.click("#send"), () => visit.page.keyboard.press("Escape")]) {
      const { left } = await world.model.seen();
      await world.model.hold("canary endless");
      await visit.ask("canary endless");
      await visit.says("answer");
      assert.match(await visit.page.locator("#send").getAttribute("aria-label"), /^Stop/);
      await stop();
      await visit.reaches("stopped");
      await until("the model is left alone", async () => (await world.model.seen()).left > left);
      assert.equal(await visit.page.locator("#send").getAttribute("aria-label"), "Send");
      assert.equal(await visit.answer.locator(".remark").textContent(), "Stopped.");
      assert.match(await visit.said(), /^answer/);
    }
    await world.model.release("canary endless");
    await visit.answer.locator(".again").click();
    await visit.reaches("done");
    assert.equal(await visit.page.locator(".answer").count(), 2);
  },

  async "a failed answer says so in plain words and can be asked again"(world) {
    const text = "canary refused";
    await world.model.refuse(text);
    const visit = await world.visit();
    await visit.ask(text);
    await visit.reaches("failed");
    const remark = await visit.answer.locator(".remark").textContent();
    assert.match(remark, /^[A-Z].*[.!?]$/);
    assert.doesNotMatch(remark, /canary|undefined|null|\{/);
    await visit.answer.locator(".again").click();
    await visit.reaches("done");
    assert.ok(await visit.answer.locator(".remark").isHidden());
    assert.equal(await visit.page.locator(".person").count(), 1);
  },

  async "a message too long for the host is kept in the field"(world) {
    const visit = await world.visit();
    const long = "长".repeat(11_000);
    await visit.ask(long);
    await visit.page.locator("#notice", { hasText: "too long" }).waitFor();
    assert.equal(await visit.page.inputValue("#query"), long);
    await visit.converse("canary short");
    assert.ok(await visit.page.locator("#notice").isHidden());
  },

  async "answers and code are copied as they were written"(world) {
    const source = "Some `code`:\n\n```sh\necho '<b>'\n  indented\n```";
    await world.model.script("canary copied", source);
    const visit = await world.visit({ permissions: ["clipboard-read", "clipboard-write"] });
    await visit.converse("canary copied");
    await visit.page.click(".copy-code");
    await visit.page.locator(".copy-code.thanks", { hasText: "Copied" }).waitFor();
    const pasted = () => visit.page.evaluate(() => navigator.clipboard.readText());
    assert.equal(await pasted(), "echo '<b>'\n  indented");
    await visit.page.click(".copy-answer");
    await until("the answer is copied", async () => await pasted() === source);
  },

  async "the page follows the end of an answer, unless somebody reads above"(world) {
    await world.model.script("canary long", LONG);
    await world.model.script("canary far", `begun ${LONG}`);
    const visit = await world.visit();
    const { page } = visit;
    const place = () => page.locator("#scroll").evaluate((frame) => ({
      top: frame.scrollTop, below: frame.scrollHeight - frame.scrollTop - frame.clientHeight,
    }));
    await visit.converse("canary long");
    await until("the end is in sight", async () => (await place()).below < 2);
    assert.ok(await page.locator("#jump").isHidden());
    await world.model.hold("canary far");
    await visit.ask("canary far");
    await visit.says("begun");
    await page.mouse.move(700, 300);
    await page.mouse.wheel(0, -600);
    await page.locator("#jump").waitFor();
    const { top } = await place();
    await world.model.release("canary far");
    await visit.reaches("done");
    await until("the answer is there", async () => (await place()).below > 2000);
    assert.equal((await place()).top, top);
    await page.click("#jump");
    await until("the end is in sight", async () => (await place()).below < 2);
    assert.ok(await page.locator("#jump").isHidden());
  },

  async "an answer goes on while another conversation is open"(world) {
    const text = "canary elsewhere";
    await world.model.hold(text);
    const visit = await world.visit();
    await visit.ask(text);
    await visit.says("answer");
    await visit.page.locator(".fresh").first().click();
    await visit.converse("canary meanwhile");
    await world.model.release(text);
    await visit.open(text);
    await visit.reaches("done");
    assert.equal(await visit.said(), `answer to <${text}>`);
    await visit.page.goBack();
    await visit.says("canary meanwhile");
  },
};
