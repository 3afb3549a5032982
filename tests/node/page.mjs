// node page.mjs ADDRESS FOLDER: uses the demo page in headless Chromium as a visitor would, and
// leaves screenshots in FOLDER. Prints one line for each thing seen; ends with 1 at the first that
// is not as it should be.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
assert(executablePath, "Chromium is installed");

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

const problems = [];
const requests = new Set();
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on("console", (entry) => entry.type() === "error" && problems.push(entry.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => requests.add(new URL(request.url()).host));
  await page.goto(`http://${address}/`);
  await page.locator('#state[data-state="online"]').waitFor();
  return page;
}
const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });

async function publish(page, text, to) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByLabel(to, { exact: true }).check();
  await page.getByRole("button", { name: "Publish" }).click();
}
async function expectMessage(page, text) {
  const item = page.locator("#messages li", { hasText: text });
  await item.waitFor();
  assert.match(await item.locator(".id").innerText(), /^\d{26}$/);
  assert.match(await item.locator(".latency").innerText(), /^\d+(\.\d)? ms$/);
  assert.equal(await item.count(), 1);
}

try {
  const first = await open({ colorScheme: "light" });
  const second = await open({ colorScheme: "dark" });
  assert.equal(await first.locator("#transport").innerText(), "WebSocket, protobuf");
  console.log("two pages are connected by WebSocket");

  await publish(first, "for me alone", "this page");
  await expectMessage(first, "for me alone");
  await publish(first, "for everybody", "all pages");
  await expectMessage(first, "for everybody");
  await expectMessage(second, "for everybody");
  assert.equal(await second.locator("#messages li", { hasText: "for me alone" }).count(), 0);
  console.log("a page publishes to itself and to all");

  await second.getByLabel("long polling").check();
  await second.locator("#transport", { hasText: "long polling" }).waitFor();
  await publish(first, "to a long poll", "all pages");
  await expectMessage(second, "to a long poll");
  console.log("a page gets messages by long polling");

  const phone = await open({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  await publish(phone, "from a phone", "all pages");
  await expectMessage(first, "from a phone");
  const width = await phone.evaluate(() => document.documentElement.scrollWidth);
  assert(width <= 390, `nothing sticks out on a phone, the page is ${width} wide`);

  await shot(first, "demo-light");
  await shot(second, "demo-dark");
  await shot(phone, "demo-phone");
  assert.deepEqual([...requests], [address], "nothing comes from elsewhere");
  assert.deepEqual(problems, [], "no errors in the console");
  console.log("passed");
} finally {
  await browser.close();
}
