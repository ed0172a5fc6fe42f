// Whatever a model or a person writes runs nothing and loads nothing.

import assert from "node:assert/strict";

/** What has got through one Markdown renderer or purifier or another. */
const HOSTILE = [
  "<script>fired()</script>",
  "<ScRiPt src=//evil.example/x.js></sCrIpT>",
  "<img src=x onerror=fired()>",
  "<img src='https://evil.example/pixel.png'>",
  "![pixel](https://evil.example/pixel.png)",
  "![a](javascript:fired())",
  "![a](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImZpcmVkKCkiLz4=)",
  "![x][pixel]\n\n[pixel]: https://evil.example/pixel.png",
  "[![in](https://evil.example/pixel.png)](javascript:fired())",
  "<svg onload=fired()><script>fired()</script></svg>",
  "<svg><style><img src=x onerror=fired()></style></svg>",
  "<svg><use href=\"data:image/svg+xml,<svg id='x' onload='fired()'/>#x\"></svg>",
  "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=fired()&gt;\">",
  "<iframe srcdoc='<script>parent.fired()</script>'></iframe>",
  "<object data=javascript:fired()></object><embed src=javascript:fired()>",
  "<base href=//evil.example/><form action=javascript:fired()><button autofocus onfocus=fired()>x</button></form>",
  "<link rel=stylesheet href=//evil.example/x.css><meta http-equiv=refresh content=0;url=//evil.example>",
  "<style>@import '//evil.example/x.css'; * { background: url(//evil.example/y) }</style>",
  "<details open ontoggle=fired()><summary>x</summary></details>",
  "<a href=javascript:fired() onmouseover=fired()>over</a>",
  "<template><script>fired()</script></template><noscript><p title=\"</noscript><img src=x onerror=fired()>\">",
  "[js](javascript:fired())",
  "[js](JaVaScRiPt:fired())",
  "[js](java\tscript:fired())",
  "[js](&#106;avascript:fired())",
  "[js](\u0001javascript:fired())",
  "[js](<javascript:fired()>)",
  "[vb](vbscript:fired())",
  "[data](data:text/html,<script>fired()</script>)",
  "[file](file:///etc/passwd)",
  "[blob](blob:https://evil.example/1)",
  "[own](/page/token)",
  "[relative](//evil.example)",
  "<javascript:fired()>",
  "javascript:fired()",
  "[x](https://evil.example/\"onmouseover=\"fired())",
  "[x](https://evil.example 'title\" onmouseover=\"fired()')",
  "[a]: javascript:fired()\n[a]",
  "`<img src=x onerror=fired()>`",
  "```html\n<script>fired()</script>\n```",
  "```\"><img src=x onerror=fired()>\nx\n```",
  "``` language-x\" onclick=\"fired()\nx\n```",
  "|<img src=x onerror=fired()>|b|\n|:-:|-|\n|<script>fired()</script>|`|`|",
  "> <img src=x onerror=fired()>\n> - <svg/onload=fired()>",
  "**<b onclick=fired()>x</b>** <!-- --><img src=x onerror=fired()> -->",
  "</div></li></ol><img src=x onerror=fired()>",
  "<![CDATA[<script>fired()</script>]]>",
  "&lt;img src=x onerror=fired()&gt; &#60;script&#62;fired()&#60;/script&#62;",
  "<x id=query name=body class=fresh>clobber</x> <form id=ask><input name=attributes></form>",
  "<a id=DOMPurify></a><a id=DOMPurify name=sanitize>clobber</a>",
  "<p style=\"background:url(https://evil.example/z)\">x</p>",
  "\u202e<img src=x onerror=fired()>",
];

const TAGS = new Set([
  "A", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DIV", "EM", "FIGCAPTION", "FIGURE", "H1", "H2", "H3", "H4", "H5", "H6",
  "HR", "LI", "OL", "P", "PRE", "S", "SPAN", "STRONG", "TABLE", "TBODY", "TD", "TH", "THEAD", "TR", "UL",
]);
const ATTRIBUTES = new Set([
  "align", "class", "href", "rel", "start", "tabindex", "target", "title", "type", "data-text", "data-title",
]);

/** What in the talk is not plain text and safe links. */
function oddities(page) {
  return page.evaluate(([tags, attributes]) => {
    const elements = [...document.querySelectorAll(".prose *")].filter((each) => !each.closest("svg"));
    const odd = elements.filter(({ tagName }) => !tags.includes(tagName)).map(({ tagName }) => tagName);
    for (const element of elements) {
      for (const { name, value } of element.attributes) if (!attributes.includes(name)) odd.push(`${name}=${value}`);
      if (element.tagName !== "A") continue;
      if (!/^(https?|mailto):/.test(element.getAttribute("href") ?? "mailto:")) odd.push(element.outerHTML);
      if (element.href && (element.rel !== "noopener noreferrer" || element.target !== "_blank")) odd.push(element.outerHTML);
    }
    return odd;
  }, [[...TAGS], [...ATTRIBUTES]]);
}

async function trapped(visit) {
  await visit.page.evaluate(() => {
    window.fired = () => {
      window.hasFired = true;
    };
  });
}

async function assertUnharmed(visit) {
  const { page } = visit;
  for (const link of await page.locator(".prose a").all()) await link.hover();
  assert.deepEqual(await oddities(page), []);
  assert.equal(await page.evaluate(() => window.hasFired), undefined);
  assert.equal(await page.locator("#query").count(), 1);
}

export const cases = {
  async "hostile Markdown in an answer runs nothing and loads nothing"(world) {
    const visit = await world.visit();
    await trapped(visit);
    for (const [at, text] of HOSTILE.entries()) {
      await world.model.script(`canary hostile ${at}.`, text);
      await visit.converse(`canary hostile ${at}.`);
      assert.doesNotMatch(await visit.said(), /^answer to/);
    }
    await assertUnharmed(visit);
    assert.equal(await visit.page.locator(".answer").count(), HOSTILE.length);
    await visit.page.reload();
    await visit.ready();
    await trapped(visit);
    await assertUnharmed(visit);
  },

  async "hostile Markdown in pieces runs nothing either"(world) {
    const visit = await world.visit();
    await trapped(visit);
    const module = await visit.page.locator('link[rel="modulepreload"][href^="/page/prose."]').getAttribute("href");
    await visit.page.evaluate(async ([module, texts]) => {
      const { Prose } = await import(module);
      const frame = document.createElement("div");
      frame.className = "prose";
      document.getElementById("talk").append(frame);
      for (const text of texts) {
        const prose = new Prose(frame);
        for (let end = 1; end <= text.length; end += 1) prose.grow(text.slice(0, end));
      }
      new Prose(frame).show(texts.join("\n\n"));
    }, [module, HOSTILE]);
    await assertUnharmed(visit);
  },

  async "what a person writes is shown as it is, in the talk, the list and the title"(world) {
    const visit = await world.visit();
    await trapped(visit);
    const text = "<img src=x onerror=fired()> canary **bold** </title><script>fired()</script>";
    await visit.converse(text);
    assert.equal(await visit.page.locator(".person .text").textContent(), text);
    assert.ok(text.startsWith((await visit.titles())[0].slice(0, -1)));
    assert.ok((await visit.page.title()).startsWith("<img src=x"));
    await visit.page.locator(".entry button").first().click();
    assert.equal(await visit.page.inputValue("#name"), (await visit.titles())[0]);
    await assertUnharmed(visit);
  },

  async "an image is a link that loads nothing, and links open elsewhere"(world) {
    await world.model.script("canary picture", "![a cat](https://evil.example/cat.png) and <https://evil.example/x>");
    const visit = await world.visit();
    await visit.converse("canary picture");
    const links = await visit.prose.locator("a").evaluateAll((all) => all.map(({ href, rel, target }) => [href, rel, target]));
    assert.deepEqual(links.map(([href]) => href), ["https://evil.example/cat.png", "https://evil.example/x"]);
    assert.ok(links.every(([, rel, target]) => rel === "noopener noreferrer" && target === "_blank"));
    assert.match(await visit.prose.textContent(), /a cat/);
  },

  async "file names are no links"(world) {
    await world.model.script("canary names", "See main.rs, README.md and me@example.com, not https://example.com/a.");
    const visit = await world.visit();
    await visit.converse("canary names");
    assert.deepEqual(await visit.prose.locator("a").allTextContents(), ["https://example.com/a"]);
  },
};
