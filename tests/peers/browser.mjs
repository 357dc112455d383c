// Drives Debian's Chromium for the tests. A command is a line of JSON on stdin, its answer one on
// stdout. The browser ends when stdin does, so that no test leaves one behind.
import readline from 'node:readline';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const { executable, keys } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: executable,
  args: [
    // Tests may run as root, where Chromium's own sandbox does not work.
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
    '--disable-background-networking', '--disable-component-update',
    // Names of our own, and the keys of the certificates that stand for them.
    '--host-resolver-rules=MAP *.test 127.0.0.1',
    `--ignore-certificate-errors-spki-list=${keys.join(',')}`,
  ],
});
const contexts = new Map();
const pageOf = (name) => contexts.get(name).page;

// A context is a browser of its own: cookies, connections and one page.
const commands = {
  async open({ name, options }) {
    const context = await browser.newContext(options);
    contexts.set(name, { context, page: await context.newPage() });
  },
  async goto({ name, url }) {
    const response = await contexts.get(name).page.goto(url);
    return { status: response.status(), body: await response.text() };
  },
  // As somebody who reads the labels does it.
  async fill({ name, label, value }) {
    await pageOf(name).getByLabel(label, { exact: true }).fill(value);
  },
  async tick({ name, label }) {
    await pageOf(name).getByLabel(label, { exact: true }).check();
  },
  // Presses a button or link with the keyboard alone, and waits for the page that comes of it.
  async press({ name, role, text }) {
    const page = pageOf(name);
    await page.getByRole(role, { name: text, exact: true }).focus();
    const [response] = await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    return response?.status();
  },
  // The same where no page comes of it.
  async push({ name, role, text }) {
    const page = pageOf(name);
    await page.getByRole(role, { name: text, exact: true }).first().focus();
    await page.keyboard.press('Enter');
  },
  // What somebody reads in the main part.
  async read({ name }) {
    return pageOf(name).locator('main').innerText();
  },
  async text({ name, selector }) {
    return pageOf(name).locator(selector).textContent();
  },
  async place({ name }) {
    return new URL(pageOf(name).url()).pathname;
  },
  // What axe-core finds: rule and place of whatever is wrong for those who do not see the page.
  async axe({ name }) {
    const page = pageOf(name);
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((node) => node.html) }));
  },
  async media({ name, scheme, width }) {
    const page = pageOf(name);
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 800 });
  },
  // What a page's script says: an expression, or a promise of one.
  async evaluate({ name, script }) {
    return contexts.get(name).page.evaluate(script);
  },
  async cookies({ name }) {
    return contexts.get(name).context.cookies();
  },
  async screenshot({ name, path }) {
    await pageOf(name).screenshot({ path, fullPage: true });
  },
};

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ version: browser.version() });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { command, ...facts } = JSON.parse(line);
  try {
    say({ value: (await commands[command](facts)) ?? null });
  } catch (error) {
    say({ error: String(error) });
  }
}
await browser.close();
