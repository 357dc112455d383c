// Drives Debian's Chromium for the tests. A command is a line of JSON on stdin, its answer one on
// stdout. The browser ends when stdin does, so that no test leaves one behind.
import readline from 'node:readline';
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
  // What a page's script says: an expression, or a promise of one.
  async evaluate({ name, script }) {
    return contexts.get(name).page.evaluate(script);
  },
  async cookies({ name }) {
    return contexts.get(name).context.cookies();
  },
  async screenshot({ name, path }) {
    await contexts.get(name).page.screenshot({ path });
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
