import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, afterAll, describe, expect, test } from 'vitest';
import { shareOfPipelineId } from '../../src/pipeline/share.ts';
import { publishStatuses } from '../../src/store/statuses.ts';
import { openCommands, settleCommand } from '../../src/store/work.ts';
import { commandLine } from '../support/cli.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { addPipeline } from '../support/outbox.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());
afterEach(async () => void (await db.sql`truncate commands, pipelines cascade`));

const whorl = (line: string, ask?: (question: string) => Promise<string>) => commandLine(() => db.url, { ask })(line);

/** A pipeline whose jobs wait, each for its cause. */
async function parked(causes: Record<string, string>): Promise<string> {
  const pipeline = await addPipeline(db.sql, 'knot.example', randomUUID().slice(0, 13), Object.keys(causes));
  const entries = Object.entries(causes).map(([job, cause]) => ({
    job,
    attempt: 1,
    epoch: 0,
    status: 'pending' as const,
    error: `Waiting for the operator (create): ${cause} it is`,
    parked: cause,
  }));
  await publishStatuses(db.sql, pipeline, entries);
  return pipeline;
}

const commands = () => db.sql<{ id: string; pipeline: string; job: string | null; by: string }[]>`
  select id, pipeline, job, by from commands where kind = 'retry' order by pipeline, job`;

/** Does what dispatch does with what waits, until it is stopped. */
function carryOut(answer: (pipeline: string) => ['done' | 'refused', string]) {
  let going = true;
  const work = (async () => {
    while (going) {
      for (const { pipeline } of await commands()) {
        for (const command of await openCommands(db.sql, shareOfPipelineId(pipeline), 100)) {
          await settleCommand(db.sql, command.id, ...answer(command.pipeline));
        }
      }
    }
  })();
  return async () => {
    going = false;
    await work;
  };
}

describe('whorl retry --cause', () => {
  test('asks once for each pipeline that the cause keeps waiting, and for no job that waits for another', async () => {
    const one = await parked({ 'ci.yml': 'CredentialsRejected' });
    const two = await parked({ 'ci.yml': 'CredentialsRejected', 'lint.yml': 'CredentialsRejected' });
    const mixed = await parked({ 'ci.yml': 'CredentialsRejected', 'lint.yml': 'Forbidden' });
    await parked({ 'ci.yml': 'TargetMissing' });
    const stop = carryOut(() => ['done', 'Trying again.']);
    const { code, out, err } = await whorl('retry --cause credentialsrejected --id call-1 --by sre');
    await stop();
    expect({ code, out, err }).toEqual({ code: 0, out: '3 tried again.', err: '' });
    const expected = [
      { id: `call-1/${one}`, pipeline: one, job: null, by: 'sre' },
      { id: `call-1/${two}`, pipeline: two, job: null, by: 'sre' },
      { id: `call-1/${mixed}/ci.yml`, pipeline: mixed, job: 'ci.yml', by: 'sre' },
    ].toSorted((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
    expect(await commands()).toEqual(expected);

    // The same call again changes nothing.
    expect(await whorl('retry --cause CredentialsRejected --id call-1 --by sre --yes')).toMatchObject({ code: 0 });
    expect(await commands()).toEqual(expected);
  });

  test('tells of those that were refused, and of those that still wait', async () => {
    const refused = await parked({ 'ci.yml': 'Forbidden' });
    await parked({ 'ci.yml': 'Forbidden' });
    const stop = carryOut((pipeline) => (pipeline === refused ? ['refused', 'ci.yml is not parked.'] : ['done', '']));
    const answer = await whorl('retry --cause Forbidden');
    await stop();
    expect(answer).toMatchObject({ code: 1, out: `${refused}: ci.yml is not parked.\n1 tried again, 1 refused.` });
    expect(answer.err).toBe('whorl: 1 of 2 were refused');

    await db.sql`truncate commands`;
    const late = await whorl('retry --cause Forbidden --wait 10ms --id mine');
    expect(late).toMatchObject({ code: 3, out: '2 still to be carried out.' });
    expect(late.err).toContain('`--id mine` waits for them');
    expect(await whorl('retry --cause Forbidden --no-wait --id mine')).toMatchObject({ code: 0 });
    expect(await commands()).toHaveLength(2);
  });

  test('shows with --dry-run what it would do, and does nothing', async () => {
    const pipeline = await parked({ 'ci.yml': 'TargetMissing', 'lint.yml': 'TargetMissing' });
    const { code, out } = await whorl('retry --cause TargetMissing --dry-run');
    expect(code).toBe(0);
    expect(out).toMatch(/^PIPELINE +REPOSITORY +JOBS +SINCE +WHY\n/);
    expect(out).toMatch(
      new RegExp(`${pipeline} +did:plc:someone/repo +ci.yml, lint.yml +20\\d\\d-.*TargetMissing it is`),
    );
    expect(out).toMatch(/\n1 pipeline would be tried again; nothing was done\.$/);
    expect(await commands()).toEqual([]);

    const data: unknown = JSON.parse((await whorl('retry --cause TargetMissing --dry-run --json --id x')).out);
    expect(data).toMatchObject({
      cause: 'TargetMissing',
      id: 'x',
      dryRun: true,
      pipelines: [{ pipeline, jobs: ['ci.yml', 'lint.yml'], commands: [{ id: `x/${pipeline}`, state: null }] }],
    });
    expect(await whorl('retry --cause Internal --dry-run')).toMatchObject({
      code: 0,
      out: 'Nothing is parked for Internal.',
    });
  });

  test('has JSON of what became of each', async () => {
    const pipeline = await parked({ 'ci.yml': 'Internal' });
    const stop = carryOut(() => ['done', 'Trying again: ci.yml.']);
    const { code, out } = await whorl('retry --cause Internal --json');
    await stop();
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      pipelines: [{ pipeline, commands: [{ job: null, state: 'done', result: 'Trying again: ci.yml.' }] }],
    });
  });

  test('of more than twenty is asked for a yes, on a terminal or by --yes', async () => {
    for (let n = 0; n < 21; n += 1) await parked({ 'ci.yml': 'Forbidden' });
    const alone = await whorl('retry --cause Forbidden');
    expect(alone).toMatchObject({ code: 2, out: '' });
    expect(alone.err).toContain('21 pipelines parked for Forbidden would be tried again at once: say --yes');
    expect(await whorl('retry --cause Forbidden', async () => 'n')).toMatchObject({
      code: 1,
      err: 'whorl: nothing was done',
    });
    expect(await commands()).toEqual([]);

    const questions: string[] = [];
    const yes = async (question: string): Promise<string> => (questions.push(question), 'y');
    expect(await whorl('retry --cause Forbidden --no-wait --id a', yes)).toMatchObject({ code: 0 });
    expect(questions).toEqual(['Try 21 pipelines parked for Forbidden again? [y/N] ']);
    expect(await whorl('retry --cause Forbidden --no-wait --id a --yes')).toMatchObject({ code: 0 });
    expect(await commands()).toHaveLength(21);
  });

  test('names the causes that there are, with how many wait for each', async () => {
    await parked({ 'ci.yml': 'CredentialsRejected' });
    await parked({ 'ci.yml': 'CredentialsRejected' });
    const { code, err } = await whorl('retry --cause Token');
    expect(code).toBe(2);
    expect(err).toContain('"Token" is no cause that parks jobs');
    expect(err).toContain('CredentialsRejected (2), TargetMissing (0), Forbidden (0), Internal (0)');
  });

  test('goes with no pipeline, and one of them is needed', async () => {
    expect(await whorl('retry x --cause Forbidden')).toMatchObject({ code: 2 });
    const pipeline = await parked({ 'ci.yml': 'Forbidden' });
    expect(await whorl(`retry ${pipeline} --dry-run`)).toMatchObject({ code: 2 });
    expect(await commands()).toEqual([]);
    expect(await whorl('retry')).toMatchObject({
      code: 2,
      err: expect.stringContaining('say which pipeline, or --cause'),
    });
    expect(await whorl('cancel')).toMatchObject({
      code: 2,
      err: expect.stringContaining("missing required argument 'pipeline'"),
    });
  });
});
