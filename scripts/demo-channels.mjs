// demo-channels.mjs KEY_FILE DIRECTORY INTERNAL_ADDRESS: signs the channels of the demo page.
//
// Writes DIRECTORY/00.json … ff.json, one pair and the shared channel each, of which nginx hands
// every page one, and DIRECTORY/channels.conf, the map by which a page publishes. The ids are made
// from the key, so that open pages live on when `make run` is started again.

import { createHmac } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PAGES = 256;
const [keyFile, directory, internal] = process.argv.slice(2);
const key = readFileSync(keyFile, "utf8").replace(/\r?\n$/, "");

const hmac = (algorithm, text) => createHmac(algorithm, key).update(text).digest("hex");
const sign = (text) => hmac("sha1", text);
const channelId = (name) => hmac("sha256", `demo page: ${name}`).slice(0, 32);

const shared = channelId("shared");
const publishing = [["all", shared]];
for (let page = 0; page < PAGES; page += 1) {
  const name = page.toString(16).padStart(2, "0");
  const privateId = channelId(`private ${name}`);
  const publicId = channelId(`public ${name}`);
  const pair = `${privateId}:${publicId}`;
  const config = {
    private: `${pair}.${sign(pair)}`,
    public: publicId,
    public_signature: sign(`public:${publicId}`),
    shared: `${shared}.${sign(shared)}`,
    internal,
    publish: { own: `/demo/publish/${publicId}`, all: "/demo/publish/all" },
  };
  writeFileSync(join(directory, `${name}.json`), JSON.stringify(config));
  publishing.push([publicId, privateId]);
}

const lines = publishing.map(([address, id]) => `    /demo/publish/${address} ${id};`);
writeFileSync(
  join(directory, "channels.conf"),
  `map $uri $bx_demo_channel {\n    default "";\n${lines.join("\n")}\n}\n`,
);
