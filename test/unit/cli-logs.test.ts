import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addCommands, run } from '../../src/cli/index.ts';
import { logLines } from '../../src/cli/log-lines.ts';
import type { PipelineId } from '../../src/pipeline/ids.ts';
import { isWatched } from '../../src/store/watchers.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { entriesOf, logWriter, sayOf } from '../support/logs.ts';
import { addPipeline } from '../support/outbox.ts';
import { until } from '../support/until.ts';

const knot = 'knot.example';
let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase({ max: 10 })));
afterAll(() => db.drop());

/** Starts one command line; what it prints can be looked at while it runs. */
function start(line: string | string[], { colours = false } = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const env = { WHORL_DATABASE_URL: db.url };
  const shell = {
    env,
    colours,
    print: (text: string) => void out.push(text),
    complain: (text: string) => void err.push(text),
  };
  const args = typeof line === 'string' ? line.split(' ') : line;
  return { out, err, code: run(addCommands(new Command('whorl'), shell), args, shell) };
}

async function whorl(line: string | string[], options?: { colours: boolean }) {
  const { out, err, code } = start(line, options);
  return { code: await code, out, err: err.join('\n') };
}

let pipelines = 0;
async function newPipeline(jobs = ['ci.yml']) {
  const id = await addPipeline(db.sql, knot, `p${pipelines++}`, jobs);
  const job = (name = 'ci.yml', attempt = 1) => logWriter(db.sql, { pipeline: id, job: name, attempt });
  return { id, job };
}

const ended = (id: PipelineId, job = 'ci.yml') => sayOf(db.sql, id, job, 'success');

describe('whorl logs', () => {
  test('shows the steps and lines of the only job, by any name of the pipeline', async () => {
    const { id, job } = await newPipeline();
    const { append, complete } = job();
    await append(entriesOf(0, ['one', '', '\ttwo'], { open: true, close: true }));
    await append(entriesOf(1, ['three'], { open: true, close: true }));
    await ended(id);
    await complete();
    const lines = ['=== Step 0', 'one', '', '\ttwo', '=== Step 1', 'three'];
    for (const name of [id, id.replace('pipeline/', ''), id.split('/')[2] ?? '']) {
      expect(await whorl(`logs ${name}`)).toEqual({ code: 0, out: lines, err: '' });
    }
    expect(await whorl(`logs ${id} ci.yml`)).toEqual({ code: 0, out: lines, err: '' });
    const timed = await whorl(`logs ${id} --times`);
    expect(timed.out.slice(0, 3)).toEqual([
      '2026-01-10T12:00:00.000Z  === Step 0',
      '2026-01-10T12:00:00.000Z  one',
      '2026-01-10T12:00:00.001Z  ',
    ]);
  });

  test('shows all jobs one after the other, and says of which there is no log yet', async () => {
    const { id, job } = await newPipeline(['a.yml', 'b.yml', 'c.yml']);
    const a = job('a.yml');
    await a.append(entriesOf(0, ['from a']));
    await ended(id, 'a.yml');
    await a.complete();
    await sayOf(db.sql, id, 'b.yml', 'pending', 'Waiting for the operator.');
    await job('c.yml').append(entriesOf(0, ['from c']));
    await sayOf(db.sql, id, 'c.yml', 'running');
    const { code, out, err } = await whorl(`logs ${id}`);
    expect(out).toEqual([
      '##### a.yml, attempt 1',
      'from a',
      '##### b.yml, attempt 1',
      'there is no log of b.yml yet: it is pending (Waiting for the operator)',
      '##### c.yml, attempt 1',
      'from c',
    ]);
    expect([code, err]).toEqual([0, 'c.yml goes on; --follow waits for the rest']);
  });

  test('shows the newest attempt, or the one that is asked for', async () => {
    const { id, job } = await newPipeline();
    await job('ci.yml', 1).append(entriesOf(0, ['first']));
    await job('ci.yml', 1).complete();
    await sayOf(db.sql, id, 'ci.yml', 'failed', 'broken', 1);
    expect((await whorl(`logs ${id} ci.yml --attempt 2`)).err).toBe(
      'whorl: ci.yml has had one attempt, so there is no attempt 2',
    );
    await sayOf(db.sql, id, 'ci.yml', 'pending', undefined, 2);
    await job('ci.yml', 2).append(entriesOf(0, ['second']));
    expect((await whorl(`logs ${id}`)).out).toEqual(['second']);
    expect(await whorl(`logs ${id} ci.yml --attempt 1`)).toEqual({ code: 0, out: ['first'], err: '' });
    expect((await whorl(`logs ${id} --attempt 3`)).err).toContain('ci.yml has had 2 attempts');
  });

  test('with --json prints the entries as they are sent, with job and attempt', async () => {
    const { id, job } = await newPipeline();
    const entries = entriesOf(0, ['a \u001b[31mred\u001b[0m \u202eword'], { open: true, close: true });
    await job().append(entries);
    await ended(id);
    await job().complete();
    const { code, out } = await whorl(`logs ${id} --json`, { colours: true });
    expect(code).toBe(0);
    expect(out.map((line) => JSON.parse(line) as unknown)).toEqual(
      entries.map((entry) => ({ job: 'ci.yml', attempt: 1, ...(JSON.parse(entry) as object) })),
    );
    for (const character of ['\u001b', '\u202e']) expect(out.join('')).not.toContain(character);
  });

  test('follows a log until it is over, and says meanwhile that somebody reads it', async () => {
    const { id, job } = await newPipeline();
    const { append, complete } = job();
    await append(entriesOf(0, ['one'], { open: true }));
    await sayOf(db.sql, id, 'ci.yml', 'pending');
    const following = start(`logs ${id} --follow`);
    await until('what was there', () => following.out.length === 2);
    await until('a watcher', () => isWatched(db.sql, id, 'ci.yml'));
    for (const text of ['two', 'three']) {
      await append(entriesOf(0, [text]));
      await until(text, () => following.out.at(-1) === text);
    }
    await ended(id);
    await append(entriesOf(0, ['four'], { close: true }));
    await complete();
    expect(await following.code).toBe(0);
    expect(following.out).toEqual(['=== Step 0', 'one', 'two', 'three', 'four']);
    expect(following.err).toEqual([]);
  });

  test('follows all jobs, one after the other', async () => {
    const { id, job } = await newPipeline(['a.yml', 'b.yml']);
    const following = start(`logs ${id} -f`);
    for (const name of ['b.yml', 'a.yml']) {
      await job(name).append(entriesOf(0, [`from ${name}`]));
      await ended(id, name);
      await job(name).complete();
    }
    expect(await following.code).toBe(0);
    expect(following.out).toEqual(['##### a.yml, attempt 1', 'from a.yml', '##### b.yml, attempt 1', 'from b.yml']);
  });

  test('of a job that failed before it had a log shows why, and a log that was removed says so', async () => {
    const { id, job } = await newPipeline();
    await sayOf(db.sql, id, 'ci.yml', 'failed', 'The workflow file is not YAML.');
    await job().complete();
    expect(await whorl(`logs ${id}`)).toEqual({
      code: 0,
      out: ['=== Reason', 'The workflow file is not YAML.'],
      err: '',
    });
    await db.sql`update logs set removed_at = '2026-11-01T00:00:00Z' where pipeline = ${id}`;
    expect((await whorl(`logs ${id}`)).out[1]).toContain('was removed on 2026-11-01');
  });

  test('says in one sentence what it cannot show', async () => {
    const { id } = await newPipeline(['ci.yml', 'lint.yml']);
    expect(await whorl(`logs ${id} nope.yml`)).toEqual({
      code: 1,
      out: [],
      err: `whorl: ${id} has no job nope.yml; it has ci.yml, lint.yml`,
    });
    await sayOf(db.sql, id, 'ci.yml', 'pending');
    expect(await whorl(`logs ${id} ci.yml`)).toEqual({
      code: 3,
      out: [],
      err: 'whorl: there is no log of ci.yml yet: it is pending; --follow waits for it',
    });
    expect((await whorl('logs nothing')).code).toBe(1);
    expect((await whorl(`logs ${id} ci.yml --attempt 0`)).code).toBe(2);
    const refused = 'refused';
    await db.sql`insert into triggers (knot, nsid, rkey, share, state) values (${knot}, 'n', ${refused}, 0, 'refused')`;
    expect(await whorl(`logs ${knot}/${refused}`)).toMatchObject({
      code: 3,
      err: expect.stringContaining(`\`whorl show pipeline/${knot}/${refused}\` says why`),
    });
  });

  test('is what whorl show points to, and its help has examples', async () => {
    const { id } = await newPipeline();
    expect((await whorl(`show ${id}`)).out).toContain(`What they wrote: \`whorl logs ${id} [job] [--follow]\`.`);
    expect((await whorl('logs --help')).out.join('\n')).toMatch(/\nExamples:\n {2}whorl logs /);
  });
});

describe('lines for a terminal', () => {
  const paint = (texts: string[], colours = true): (string | undefined)[] => {
    const line = logLines({ colours, times: false });
    return entriesOf(0, texts).map((entry) => line(JSON.parse(entry) as Parameters<typeof line>[0]));
  };

  test('keep the colours of the log on a terminal, over lines too, and never leave one on', () => {
    expect(paint(['\u001b[1;31mred', 'still', 'no\u001b[0m more', 'plain'])).toEqual([
      '\u001b[1;31mred\u001b[0m',
      '\u001b[1;31mstill\u001b[0m',
      '\u001b[1;31mno\u001b[0m more\u001b[0m',
      'plain',
    ]);
    expect(paint(['\u001b[1;31mred', '\u001b[mplain'], false)).toEqual(['red', 'plain']);
  });

  test('have nothing in them that acts upon a terminal, though a log had it', () => {
    const line = logLines({ colours: true, times: true });
    const entry = { kind: 'data', time: '2026-01-10T12:00:00.123456789Z', step_id: 0 };
    const nasty = 'a\u001b[2Jb\u001b]0;title\u0007c\u009b2Jd\u202ee\rf\u001b[';
    expect(line({ ...entry, content: nasty })).toBe(
      '2026-01-10T12:00:00.123Z  a\u{fffd}[2Jb\u{fffd}]0;title\u{fffd}c\u{fffd}2Jd\u{fffd}e\u{fffd}f\u{fffd}[',
    );
    const control = { ...entry, kind: 'control', step_status: 'start' };
    expect(line({ ...control, content: 'x\u001b[31my', step_command: 'a\nb' })).toBe(
      '2026-01-10T12:00:00.123Z  \u001b[1m=== x\u{fffd}[31my  $ a\u{fffd}b\u001b[0m',
    );
  });

  test('stay short, however many colours are turned on', () => {
    const many = Array.from({ length: 1_000 }, (_, n) => `\u001b[38;5;${n % 256}m`).join('');
    const [, second = ''] = paint([many, 'next']);
    expect(second.length).toBeLessThan(300);
    expect(second.endsWith('next\u001b[0m')).toBe(true);
  });
});
