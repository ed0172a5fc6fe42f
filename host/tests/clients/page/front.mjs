// A wire between browser and host that a test can cut: TCP, byte for byte.

import net from "node:net";
import { once } from "node:events";

export class Front {
  #server;
  #pairs = new Set();
  /** "pass", "refuse" (nobody gets through), or "plain" (no WebSocket does). */
  #mode = "pass";

  static async open(url) {
    const front = new Front();
    const { hostname, port } = new URL(url);
    front.#server = net.createServer((near) => front.#join(near, Number(port), hostname));
    front.#server.listen(0, "127.0.0.1");
    await once(front.#server, "listening");
    front.url = `http://127.0.0.1:${front.#server.address().port}`;
    return front;
  }

  let(mode) {
    this.#mode = mode;
  }

  /** Breaks all connections that are open. */
  cut() {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #join(near, port, host) {
    if (this.#mode === "refuse") return near.resetAndDestroy();
    const far = net.connect(port, host);
    const pair = [near, far];
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    near.on("data", (bytes) => this.#mode === "plain" && isUpgrade(bytes) && end());
    for (const socket of pair) socket.on("error", end).on("close", end);
    near.pipe(far).pipe(near);
  }
}

function isUpgrade(bytes) {
  return /^GET \/chat\?/.test(bytes.toString("latin1", 0, 16));
}
