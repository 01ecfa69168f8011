import { Writable } from 'node:stream';
import { Command } from 'commander';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addCommands, run } from '../../src/cli/index.ts';
import { logLine, stepEnd, stepStart } from '../../src/forges/tangled/log.ts';
import { statusFrame } from '../../src/forges/tangled/status.ts';
import { escapedLine, visibleLine } from '../../src/log.ts';
import { inMarkdown } from '../../src/pipeline/inert.ts';
import { type PipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import { newJob } from '../../src/pipeline/job.ts';
import { insertCommand } from '../../src/store/commands.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import { keepRefused } from '../../src/store/refused.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { publishStatuses } from '../../src/store/statuses.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { acting, allHostile, hostile } from '../support/hostile.ts';
import { logWriter } from '../support/logs.ts';

const knot = 'knot.example';
const did = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
let db: FreshDatabase;
let id: PipelineId;

beforeAll(async () => {
  db = await freshDatabase();
  id = pipelineId(knot, 'p0');
  const about = { knot, repo: { did, name: allHostile }, kind: allHostile, commit: allHostile, branch: allHostile };
  const job = { provider: 'fake', spec: null };
  await insertPipeline(db.sql, {
    ...about,
    id,
    rkey: 'p0',
    title: allHostile,
    jobs: [
      { ...job, name: allHostile, refusal: allHostile },
      { ...job, name: 'other.yml', refusal: null },
    ],
  });
  const status = { job: allHostile, attempt: 1, epoch: 0, status: 'failed' as const, error: allHostile };
  await publishStatuses(db.sql, id, [{ ...status, state: { job: newJob(), attempts: 1, note: allHostile } }]);
  await insertCommand(db.sql, { id: `id${allHostile}`, pipeline: id, kind: 'rerun', job: allHostile, by: allHostile });
  await db.sql`update commands set result = ${allHostile}`;
  await db.sql`
    insert into triggers (knot, nsid, rkey, share, state, reason, repo, hold_until) values
      (${knot}, 'sh.tangled.pipeline', 'held', 1, 'held', ${allHostile}, ${`${did}/site`}, '2030-01-01')`;
  await pinRepo(db.sql, { knot: allHostile, did: allHostile, name: allHostile });
  await keepRefused(db.sql, [
    { source: `knot/${allHostile}`, bytes: Buffer.from(allHostile), reason: allHostile, receivedAt: new Date() },
  ]);
  await db.sql`insert into accounts (did, active, status, problem, tries) values (${did}, false, ${allHostile}, ${allHostile}, 2)`;
  const log = logWriter(db.sql, { pipeline: id, job: allHostile, attempt: 1 });
  const about0 = { step: 0, at: 0, name: allHostile, command: allHostile };
  await log.append([stepStart(about0), logLine({ step: 0, at: 0, text: allHostile }), stepEnd(about0)]);
  await log.complete();
});
afterAll(() => db.drop());

/** Runs one command and gives every line that it printed, to either side. */
async function whorl(args: string[], colours = false): Promise<{ out: string[]; lines: string[] }> {
  const out: string[] = [];
  const err: string[] = [];
  const shell = {
    env: { WHORL_DATABASE_URL: db.url },
    colours,
    print: (text: string) => void out.push(text),
    complain: (text: string) => void err.push(text),
  };
  await run(addCommands(new Command('whorl'), shell), args, shell);
  // what is printed may have several lines of its own
  return { out, lines: [...out, ...err].flatMap((text) => text.split('\n')) };
}

describe('on a terminal, or piped', () => {
  test.each<[string, ...string[]]>([
    ['show', 'pipeline/knot.example/p0'],
    ['show', 'knot.example/held'],
    ['show', allHostile],
    ['show', 'pipeline/knot.example/p0', '--json'],
    ['logs', 'pipeline/knot.example/p0'],
    ['logs', 'pipeline/knot.example/p0', allHostile, '--times'],
    ['logs', 'pipeline/knot.example/p0', allHostile, '--json'],
    ['logs', 'pipeline/knot.example/p0', `no ${allHostile}`],
    ['logs', 'pipeline/knot.example/p0', allHostile, '--attempt', '7'],
    ['frames'],
    ['frames', '--json'],
    ['repos', 'list'],
    ['repos', 'list', '--json'],
    ['repos', 'why', knot, `${did}/site`],
    ['repos', 'why', knot, `${did}/site`, '--json'],
    ['repos', 'why', allHostile, allHostile],
    ['repos', 'pin', knot, `${did}/\u202esite\u200b`],
    ['repos', 'unpin', knot, `${did}/\u202esite\u200b`],
    ['repos', 'unpin', knot, `${did}/\u009bnone`],
    ['cancel', 'pipeline/knot.example/p0', allHostile, '--no-wait', '--by', allHostile],
    ['rerun', 'pipeline/knot.example/p0', `no ${allHostile}`],
    ['retry', 'pipeline/knot.example/p0', '--id', allHostile],
    ['retry', 'pipeline/knot.example/p0', '--wait', '1ms'],
    ['config', '--json'],
    ['config', '--for', allHostile],
    [allHostile],
    ['show', '--no-such', allHostile],
  ])('nothing of it acts: whorl %s %.30s %.30s', async (...args) => {
    const { lines, out } = await whorl(args);
    expect(lines.join('')).not.toBe('');
    for (const line of lines) expect(line).not.toMatch(acting);
    if (args.includes('--json')) {
      const text = out.join('\n');
      const whole = args[0] === 'logs' ? `[${out.join(',')}]` : text;
      const data: unknown = JSON.parse(whole);
      // it is the data as it was, not a part of it that was made safe
      if (args[0] === 'show' || args[1] === 'list') expect(JSON.stringify(data)).toContain('\u202egnp.exe');
    }
  });

  test('colours of a log are the only thing that may act, on a terminal', async () => {
    const { lines } = await whorl(['logs', 'pipeline/knot.example/p0', allHostile], true);
    expect(lines.some((line) => line.includes('\u001b[31mred'))).toBe(true);
    // oxlint-disable-next-line no-control-regex -- codes of colours
    for (const line of lines) expect(line.replaceAll(/\u001b\[[\d;:]*m/g, '')).not.toMatch(acting);
  });
});

describe('in the log', () => {
  function logged(what: object, message: string): string {
    let text = '';
    const log = pino(
      { base: null, hooks: { streamWrite: escapedLine } },
      { write: (line: string) => void (text += line) },
    );
    log.info(what, message);
    return text;
  }

  test.each(Object.entries(hostile))(
    'it is one line of JSON without anything that acts, and the same data: %s',
    (_name, text) => {
      const line = logged({ [text]: text, err: new Error(text) }, text);
      expect(line.endsWith('\n')).toBe(true);
      expect(line.slice(0, -1)).not.toMatch(acting);
      const data = JSON.parse(line) as Record<string, unknown>;
      expect(data).toMatchObject({ msg: text, level: 30, [text]: text, err: { message: text } });
    },
  );

  test('for people it is words', async () => {
    const { default: pretty } = await import('pino-pretty');
    let text = '';
    const destination = new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString();
        done();
      },
    });
    const log = pino({ base: null, hooks: { streamWrite: visibleLine } }, pretty({ colorize: false, destination }));
    log.warn({ repo: allHostile, err: new Error(allHostile) }, allHostile);
    await expect.poll(() => text).toContain('gnp.exe');
    for (const line of text.split('\n')) expect(line).not.toMatch(acting);
    expect(text).toContain('\\u001b[2J');
    expect(text).toContain('\\u202egnp.exe');
  });
});

describe('in frames', () => {
  test.each(Object.entries(hostile))('it is one line of JSON: %s', (_name, text) => {
    const status = statusFrame('r', {
      knot,
      rkey: 'p0',
      workflow: text,
      status: 'failed',
      createdAt: new Date(0).toISOString(),
      error: text,
    });
    const entries = [
      logLine({ step: 0, text, at: 0 }),
      stepStart({ step: 0, name: text, command: text, at: 0 }),
      stepEnd({ step: 0, name: text, at: 0 }),
    ];
    for (const frame of [status, ...entries]) {
      expect(frame).not.toContain('\n');
      // oxlint-disable-next-line no-control-regex -- what JSON must escape
      expect(frame).not.toMatch(/[\u0000-\u001f]/);
      expect(JSON.parse(frame)).toBeTypeOf('object');
    }
    // the name of a workflow is a key of others, so it stays as it is
    expect((JSON.parse(status) as { event: { workflow: string } }).event.workflow).toBe(text);
    for (const entry of entries) {
      const { content } = JSON.parse(entry) as { content: string };
      // oxlint-disable-next-line no-control-regex -- codes of colours
      expect(content.replaceAll(/\u001b\[[\d;:]*m/g, '')).not.toMatch(/[\p{Cc}]/u);
    }
  });
});

test('an error on /events is not longer than people read, and never half a character', () => {
  const about = { knot, rkey: 'p0', workflow: 'ci.yml', status: 'failed' as const, createdAt: '' };
  const errorOf = (error: string): string =>
    (JSON.parse(statusFrame('r', { ...about, error })) as { event: { error: string } }).event.error;
  expect(errorOf('x'.repeat(2_000))).toHaveLength(2_000);
  expect(errorOf('x'.repeat(200_000))).toBe(`${'x'.repeat(2_000)}…`);
  expect(errorOf(`x${'🧵'.repeat(2_000)}`).isWellFormed()).toBe(true);
});

describe('in Markdown', () => {
  test.each(Object.entries(hostile))('it is words on one line: %s', (_name, text) => {
    const shown = inMarkdown(text);
    expect(shown.replaceAll('\u2060', '')).not.toMatch(acting);
    // every character that could make something of it has a backslash before it
    expect(shown.replaceAll(/\\[\s\S]/g, '')).not.toMatch(/[`*[\]<>|~&!]|^[-+=#]|^\d+[.)]/);
    expect(shown).not.toMatch(/:\/\/|www\.|@[a-z]/i);
  });

  test.each([
    ['ci.yml', 'ci.yml'],
    ['my_job-2.yaml', 'my_job-2.yaml'],
    ['_x_', '\\_x\\_'],
    ['did:plc:abc/site: push main @ c132516', 'did:plc:abc/site: push main @ c132516'],
    ['1. first', '1\\. first'],
    ['- item', '\\- item'],
    ['a\r\n\r\nb', 'a b'],
    ['a\\|b', 'a\\\\\\|b'],
    ['half \ud83e', 'half \ufffd'],
    ['', ''],
  ])('plain names stay readable: %j', (text, shown) => {
    expect(inMarkdown(text)).toBe(shown);
  });

  test('it is cut by bytes, and never after half of what belongs together', () => {
    for (let most = 0; most < 40; most++) {
      const shown = inMarkdown('字|🧵*x'.repeat(20), most);
      expect(Buffer.byteLength(shown)).toBeLessThanOrEqual(most);
      expect(shown.isWellFormed()).toBe(true);
      expect(shown).not.toMatch(/(?:^|[^\\])\\$/);
    }
  });
});
