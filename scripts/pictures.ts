// Makes the pictures of the Temporal UI under docs/images: `node scripts/pictures.ts [name …]`. It starts the world of
// the demo with what operators meet in it, and needs a `chromium` in PATH.
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type Situations, startSituations } from './pictures-world.ts';
import { squeezed } from './squeeze-png.ts';

const root = path.join(import.meta.dirname, '..');
const folder = path.join(root, 'docs/images');
const mostBytes = 120 * 1024;
const size = { width: 1280, height: 720 };
const columns = ['Status', 'Parked', 'Branch', 'Trigger', 'Workflow ID', 'Start'];

type Shot = (page: Page, at: Situations) => Promise<{ clip: { y: number; height: number } }>;

const visible = (page: Page, text: string) => page.getByText(text).locator('visible=true').first();
const listed = (at: Situations, query: string): string =>
  `${at.world.ui}/namespaces/default/workflows?query=${encodeURIComponent(query)}`;

/** The page of a pipeline, with one of its tabs open. */
async function open(page: Page, at: Situations, id: string, tab: string): Promise<void> {
  await page.goto(`${at.world.ui}/namespaces/default/workflows/${encodeURIComponent(id)}`);
  await visible(page, tab).click();
  await page.waitForTimeout(3_000);
}

const list = (query: string): Shot => {
  return async (page, at) => {
    await page.goto(listed(at, query));
    await visible(page, 'pipeline/').waitFor();
    await page.getByLabel('Collapse saved views').locator('visible=true').click();
    await page.waitForTimeout(1_000);
    return { clip: { y: 0, height: 470 } };
  };
};

const shots: Record<string, Shot> = {
  'temporal-list': list("WorkflowType = 'pipeline'"),
  'temporal-parked': list("Parked IS NOT NULL AND ExecutionStatus = 'Running'"),

  async 'temporal-details'(page, at) {
    await page.setViewportSize({ ...size, height: 1_300 });
    await open(page, at, at.pipelines.missing, 'User Metadata');
    await page.waitForTimeout(3_000);
    return { clip: { y: 310, height: 660 } };
  },

  async 'temporal-pending'(page, at) {
    await open(page, at, at.pipelines.pending, 'Pending Activities');
    await visible(page, 'Attempt').waitFor();
    return { clip: { y: 100, height: 590 } };
  },

  async 'temporal-update'(page, at) {
    await open(page, at, at.pipelines.parked, 'Timeline');
    await visible(page, 'More Actions').click();
    await visible(page, 'Send an Update').click();
    await visible(page, 'Update ID').waitFor();
    await page.waitForTimeout(500);
    await page.mouse.click(640, size.height / 2 - 96);
    await visible(page, 'retryStep').waitFor();
    return { clip: { y: 60, height: 560 } };
  },

  async 'temporal-timeline'(page, at) {
    await page.setViewportSize({ ...size, height: 1_700 });
    await open(page, at, at.pipelines.green, 'Timeline');
    const heading = page.getByRole('heading', { name: 'Timeline' }).locator('visible=true').first();
    await heading.waitFor();
    const box = await heading.boundingBox();
    return { clip: { y: (box?.y ?? 700) - 20, height: 580 } };
  },

  async 'temporal-schedule'(page, at) {
    await page.goto(`${at.world.ui}/namespaces/default/schedules/${at.schedule}`);
    await visible(page, 'Upcoming Runs').waitFor();
    await page.waitForTimeout(1_500);
    return { clip: { y: 0, height: 640 } };
  },
};

/** The places and names of this machine mean nothing to readers. */
async function anonymous(page: Page): Promise<void> {
  const swap = [
    [`@${hostname()}:`, '@worker-1:'],
    [root, '/app'],
  ];
  await page.evaluate(`{
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = texts.nextNode(); node; node = texts.nextNode()) {
      let text = node.nodeValue ?? '';
      for (const [from, to] of ${JSON.stringify(swap)}) text = text.replaceAll(from, to);
      if (text !== node.nodeValue) node.nodeValue = text;
    }
  }`);
}

async function take(browser: Browser, at: Situations, name: string, shot: Shot): Promise<void> {
  const context = await browser.newContext({ viewport: size, colorScheme: 'light', timezoneId: 'UTC' });
  try {
    await context.addInitScript((labels) => {
      const shown = { default: labels.map((label) => ({ label })) };
      localStorage.setItem('namespace-workflow-table-columns', JSON.stringify(shown));
    }, columns);
    const page = await context.newPage();
    const { clip } = await shot(page, at).catch(async (error: unknown) => {
      const file = path.join(tmpdir(), `${name}.png`);
      await page.screenshot({ path: file });
      throw new Error(`${name}: it looked like ${file}`, { cause: error });
    });
    await anonymous(page);
    const png = squeezed(await page.screenshot({ clip: { x: 0, width: size.width, ...clip } }));
    if (png.length > mostBytes) console.warn(`${name} has ${Math.round(png.length / 1024)} KiB, more than it should`);
    await writeFile(path.join(folder, `${name}.png`), png);
    console.log(`${name}.png, ${Math.round(png.length / 1024)} KiB`);
  } finally {
    await context.close();
  }
}

function chromiumHere(): string {
  try {
    return execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim();
  } catch {
    throw new Error('there is no chromium in PATH; on Debian: apt-get install chromium');
  }
}

const named = process.argv.slice(2);
const unknown = named.filter((name) => !(name in shots));
if (unknown.length > 0) throw new Error(`there is no picture ${unknown.join(', ')}: ${Object.keys(shots).join(', ')}`);
await mkdir(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: chromiumHere(), args: ['--no-sandbox'] });
const at = await startSituations();
try {
  for (const [name, shot] of Object.entries(shots)) {
    if (named.length === 0 || named.includes(name)) await take(browser, at, name, shot);
  }
} finally {
  await browser.close();
  await at.stop();
}
process.exit(0);
