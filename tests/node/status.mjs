// node status.mjs ADDRESS FOLDER: looks at the status page in headless Chromium, in light, dark and on a
// phone, and leaves screenshots in FOLDER. Ends with 1 at the first thing that is not as it should be.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
assert(executablePath, "Chromium is installed");
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args });
const wide = { width: 1200, height: 900 }, narrow = { width: 390, height: 844 };

try {
  for (const [name, options] of Object.entries({
    light: { viewport: wide, colorScheme: "light" },
    dark: { viewport: wide, colorScheme: "dark" },
    phone: { viewport: narrow, colorScheme: "light" },
  })) {
    const page = await (await browser.newContext(options)).newPage();
    page.setDefaultTimeout(15_000);
    const problems = [], hosts = new Set();
    page.on("console", (entry) => entry.type() === "error" && problems.push(entry.text()));
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("request", (request) => hosts.add(new URL(request.url()).host));
    await page.goto(`http://${address}/status/`);
    await page.locator('#state[data-state="healthy"]').waitFor();
    // One message has been published, to one subscriber.
    const facts = page.locator("#facts div");
    assert.match(await facts.filter({ hasText: "Connections" }).innerText(), /\b1\b/);
    const events = page.getByRole("region", { name: "Since the sidecar started" });
    assert.match(await events.locator("tr", { hasText: "publishes: stored" }).innerText(), /\b1$/);
    assert.match(await page.locator("svg").first().getAttribute("aria-label"), /^Connections, the last/);
    assert.equal(await page.locator("svg").count(), 4);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert(width <= options.viewport.width, `nothing sticks out, the page is ${width} wide`);
    // It goes on by itself until it is paused; both by the keyboard.
    const asked = () => page.waitForRequest((request) => request.url().endsWith("?format=json"));
    await asked();
    await page.getByRole("button", { name: "Pause" }).press("Enter");
    await page.getByRole("button", { name: "Go on" }).press("Enter");
    await asked();
    await page.screenshot({ path: join(folder, `status-${name}.png`), fullPage: true });
    assert.deepEqual(problems, []);
    assert.deepEqual([...hosts].filter((host) => host && host !== address), []);
    console.log(`${name}: shown`);
  }
} finally {
  await browser.close();
}
