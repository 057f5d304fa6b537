// Opens a report in Chromium at desktop and phone width, light and dark, and prints what it saw there as JSON lines.
// node report.mjs NODE_MODULES PAGE.html [SCREENSHOTS]
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, page, screenshots] = process.argv.slice(2);
const { chromium } = createRequire(join(resolve(modules), "x.js"))("playwright-core");

const VIEWS = [
  { name: "desktop-light", width: 1280, height: 900, colorScheme: "light" },
  { name: "desktop-dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "phone-light", width: 390, height: 844, colorScheme: "light", isMobile: true },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark", isMobile: true },
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
for (const { name, width, height, ...settings } of VIEWS) {
  const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: 1, ...settings });
  const tab = await context.newPage();
  const problems = [];
  const requests = [];
  tab.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  tab.on("pageerror", (error) => problems.push(String(error)));
  tab.on("request", (request) => requests.push(request.url()));
  await tab.goto(pathToFileURL(resolve(page)).href);
  await tab.waitForFunction(() => document.documentElement.dataset.drawn, null, { timeout: 120_000 });
  const seen = await tab.evaluate(() => ({
    drawn: document.documentElement.dataset.drawn,
    charts: document.querySelectorAll(".plot").length,
    svgs: document.querySelectorAll(".plot svg").length,
    marks: [...document.querySelectorAll(".plot")].map((plot) => plot.querySelectorAll("svg [role=graphics-symbol]").length),
    named: document.querySelectorAll(".plot[aria-label], .plot [role=graphics-document][aria-label]").length,
    scrollWidth: document.documentElement.scrollWidth,
    injected: window.injected ?? null,
  }));
  if (screenshots) {
    await tab.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  }
  const foreign = requests.filter((url) => !url.startsWith("file:") && !url.startsWith("data:"));
  console.log(JSON.stringify({ name, width, problems, foreign, ...seen }));
  await context.close();
}
await browser.close();
