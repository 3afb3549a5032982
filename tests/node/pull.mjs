// node pull.mjs JSON: runs the portal's client and prints one JSON line for everything it notices.
//
// JSON: {address, polling, private, public, publicSignature, shared}, ids with their signatures
// as a portal gives them out.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { install } from "./browser-globals.mjs";
import { logger } from "./logger.mjs";

install();
const sdk = dirname(createRequire(import.meta.url).resolve("@bitrix24/b24jssdk/package.json"));
const { PullClient } = await import(
  pathToFileURL(join(sdk, "dist/esm/pullClient/client.mjs")).href
);

const given = JSON.parse(process.argv[2]);
const tell = (event, details = {}) => console.log(JSON.stringify({ event, ...details }));

const start = new Date().toISOString();
const end = new Date(Date.now() + 86_400_000).toISOString();
const config = () => ({
  server: {
    version: 4,
    server_enabled: true,
    mode: "personal",
    hostname: "",
    config_timestamp: 0,
    websocket_enabled: !given.polling,
    websocket: `ws://${given.address}/bitrix/subws/`,
    websocket_secure: `wss://${given.address}/bitrix/subws/`,
    long_polling: `http://${given.address}/bitrix/sub/`,
    long_pooling_secure: `https://${given.address}/bitrix/sub/`,
    publish_enabled: false,
  },
  api: { revision_web: 19, revision_mobile: 3 },
  channels: {
    private: {
      id: given.private,
      public_id: `${given.public}.${given.publicSignature}`,
      start,
      end,
      type: "private",
    },
    shared: { id: given.shared, start, end, type: "shared" },
  },
  publicChannels: {},
  serverTime: new Date().toISOString(),
});

const b24 = {
  actions: {
    v2: {
      call: {
        make: async ({ method }) => {
          tell("asked", { method });
          return { getData: () => ({ result: method === "pull.config.get" ? config() : {} }) };
        },
      },
    },
  },
  callMethod: async () => ({ data: () => ({}) }),
};

const client = new PullClient({ b24, userId: 1, siteId: "s1" });
client.setLogger(logger(tell));
client.subscribe({
  moduleId: "tests",
  callback: ({ command, params }) => tell("message", { command, params, mid: client.session.mid }),
});
client.subscribe({ type: "status", callback: ({ status }) => tell("status", { status }) });

await client.start();
tell("started", { transport: client.getDebugInfo()["WebSocket connected"] === "Y" ? "ws" : "poll" });

// The test closes the standard input when it has seen enough.
process.stdin.resume();
process.stdin.on("end", () => {
  client.destroy();
  tell("ended");
  setTimeout(() => process.exit(0), 50);
});
