// node sdk_client.mjs: runs the portal's client as it is told on the standard input, one JSON object
// a line, and prints one JSON line for everything it notices. The end of the input ends it.
//
// {do: "config", config}                 what the portal answers to pull.config.get from now on
// {do: "channels", list}                 what it answers to pull.channel.public.list
// {do: "start", userId, mid, hasty}      mid: where to go on; hasty: waits are as short as may be
// {do: "send", users, module, command, params, expiry}

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { install } from "./browser-globals.mjs";
import { logger } from "./logger.mjs";

install();
const sdk = dirname(createRequire(import.meta.url).resolve("@bitrix24/b24jssdk/package.json"));
const { PullClient } = await import(
  pathToFileURL(join(sdk, "dist/esm/pullClient/client.mjs")).href
);

const tell = (event, details = {}) => console.log(JSON.stringify({ event, ...details }));

// Every request of the client is told, by its path.
const opened = (how, url) => tell("request", { how, path: new URL(url).pathname });
const PlainWebSocket = globalThis.WebSocket;
class ToldWebSocket extends PlainWebSocket {
  constructor(url) {
    opened("WebSocket", url);
    super(url);
    this.addEventListener("close", ({ code, reason }) => tell("closed", { code, reason }));
  }
}
globalThis.WebSocket = window.WebSocket = ToldWebSocket;
const { open } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.open = function (method, url) {
  opened(method, url);
  open.call(this, method, url);
};

// The portal, as far as the client asks it.
const answers = { "pull.config.get": {}, "pull.channel.public.list": {} };
const ask = async ({ method, params }) => {
  tell("asked", { method, params });
  const result = structuredClone(answers[method] ?? {});
  if (method === "pull.config.get") result.serverTime = new Date().toISOString();
  return { getData: () => ({ result }) };
};
const b24 = {
  actions: { v2: { call: { make: ask } } },
  callMethod: (method, params) => ask({ method, params }),
};

let client;

async function start({ userId, mid, hasty }) {
  // The client spreads what follows 4010 over half a minute.
  if (hasty) Math.random = () => 0;
  client = new PullClient({ b24, userId, siteId: "s1" });
  client.setLogger(logger(tell));
  // What came from the server, before the client leaves out what it has seen already.
  const { extractMessages } = client;
  client.extractMessages = function (data) {
    const messages = extractMessages.call(this, data);
    tell("arrived", { mids: messages.map((message) => message.mid) });
    return messages;
  };
  for (const type of ["server", "client"]) {
    client.subscribe({
      type,
      moduleId: "tests",
      callback: ({ command, params, extra }) =>
        tell("message", { type, command, params, sender: extra.sender }),
    });
  }
  client.subscribe({ type: "status", callback: ({ status }) => tell("status", { status }) });
  if (mid) client.setLastMessageId(mid);
  await client.start();
}

const commands = {
  config: ({ config }) => (answers["pull.config.get"] = config),
  channels: ({ list }) => (answers["pull.channel.public.list"] = list),
  start,
  send: ({ users, module, command, params, expiry }) =>
    client.sendMessage(users, module, command, params, expiry),
};

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  await commands[told.do](told);
  tell("done", { did: told.do });
}
client?.destroy();
setTimeout(() => process.exit(0), 50);
