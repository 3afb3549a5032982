// What the pull client expects to find in a browser, for Node.

import { request } from "node:http";
import { WebSocket } from "ws";

class LocalStorage {
  #items = new Map();
  getItem(name) {
    return this.#items.get(name) ?? null;
  }
  setItem(name, value) {
    this.#items.set(name, String(value));
  }
  removeItem(name) {
    this.#items.delete(name);
  }
}

/** As much of XMLHttpRequest as long polling needs. */
class XMLHttpRequest extends EventTarget {
  readyState = 0;
  status = 0;
  response = null;
  responseType = "";
  #outgoing = null;
  #headers = {};
  #options;

  open(method, url) {
    this.#options = { method, url };
    this.readyState = 1;
  }

  send(body) {
    const { method, url } = this.#options;
    this.status = 0;
    const outgoing = request(url, { method }, (incoming) => {
      const chunks = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("error", () => this.#finish(outgoing, 0, {}, Buffer.alloc(0)));
      incoming.on("end", () =>
        this.#finish(outgoing, incoming.statusCode, incoming.headers, Buffer.concat(chunks)),
      );
    });
    outgoing.on("error", () => this.#finish(outgoing, 0, {}, Buffer.alloc(0)));
    this.#outgoing = outgoing;
    outgoing.end(body);
  }

  abort() {
    const outgoing = this.#outgoing;
    if (!outgoing) return;
    this.#finish(outgoing, 0, {}, Buffer.alloc(0));
    outgoing.destroy();
  }

  getResponseHeader(name) {
    return this.#headers[name.toLowerCase()] ?? null;
  }

  #finish(outgoing, status, headers, body) {
    if (this.#outgoing !== outgoing) return;
    this.#outgoing = null;
    this.status = status;
    this.#headers = headers;
    this.response =
      this.responseType === "arraybuffer" ? new Uint8Array(body).buffer : body.toString("utf8");
    this.readyState = 4;
    this.dispatchEvent(new Event("readystatechange"));
  }
}

export function install() {
  const window = new EventTarget();
  Object.assign(window, { WebSocket, localStorage: new LocalStorage() });
  Object.assign(globalThis, {
    WebSocket,
    XMLHttpRequest,
    window,
    localStorage: window.localStorage,
    document: { location: { href: "http://localhost/" } },
  });
}
