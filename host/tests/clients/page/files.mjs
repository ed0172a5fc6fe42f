// What the page consists of, as HTTP: names with hashes that are kept for good, and a page that is asked for anew.

import assert from "node:assert/strict";

const REFERENCE = /(?:href|src)="(\/page\/[^"]+)"/g;
const IMPORT = /(?:from|import)\s*"\.\/([^"]+)"/g;

async function get(url, headers = {}) {
  const response = await fetch(url, { headers });
  return { response, text: await response.text() };
}

export const cases = {
  async "each file of the page has its hash in its name and is kept for good"(world) {
    const { response, text: html } = await get(`${world.open}/`);
    assert.equal(response.headers.get("cache-control"), "no-cache");
    const names = [...new Set([...html.matchAll(REFERENCE)].map(([, name]) => name))];
    assert.ok(names.length > 15, html);
    for (const name of names) {
      assert.match(name, /\.[0-9a-f]{16}\.(?:js|css|svg)$/);
      const { response, text } = await get(world.open + name);
      assert.equal(response.status, 200, name);
      assert.equal(response.headers.get("cache-control"), "public, max-age=31536000, immutable", name);
      assert.match(response.headers.get("content-security-policy"), /default-src 'none'/);
      for (const [, imported] of text.matchAll(IMPORT)) assert.ok(names.includes(`/page/${imported}`), `${name}: ${imported}`);
    }
    for (const unknown of ["/page/page.js", "/page/page.0123456789abcdef.js", "/page/../auth.rs", "/page/vendor/"]) {
      assert.equal((await get(world.open + unknown)).response.status, 404, unknown);
    }
  },

  async "a browser's copy is answered by 304, compressed or not"(world) {
    const { text: html } = await get(`${world.open}/`);
    const module = html.match(/\/page\/page\.[0-9a-f]+\.js/)[0];
    for (const path of ["/", module]) {
      const tags = new Set();
      for (const coding of ["gzip", "identity", "br, gzip;q=0"]) {
        const headers = { "accept-encoding": coding };
        const { response, text } = await get(world.open + path, headers);
        const etag = response.headers.get("etag");
        assert.equal(response.headers.get("content-encoding"), coding === "gzip" ? "gzip" : null);
        assert.equal(response.headers.get("vary"), "accept-encoding");
        assert.ok(text.length > 1000);
        tags.add(etag);
        const again = await get(world.open + path, { ...headers, "if-none-match": `"other", W/${etag}` });
        assert.deepEqual([again.response.status, again.text, again.response.headers.get("etag")], [304, "", etag]);
        assert.equal((await get(world.open + path, { ...headers, "if-none-match": '"other"' })).response.status, 200);
      }
      assert.equal(tags.size, 2);
    }
  },

  async "a second visit loads the page alone"(world) {
    const visit = await world.visit();
    await visit.page.reload();
    await visit.ready();
    const loaded = await visit.page.evaluate(() =>
      performance.getEntriesByType("resource")
        .filter(({ name, transferSize }) => /\.(js|css|svg)$/.test(name) && transferSize > 0).map(({ name }) => name));
    assert.deepEqual(loaded, []);
  },
};
