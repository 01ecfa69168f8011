/*
 * The world of these tests has no processes and only writes down what is done to it. They prove the logic of the
 * catalogue: who is chosen, that what was put on goes off, what is booked and counted. That the faults really happen,
 * and what Whorl makes of them, is shown by a run: `npm run faults`.
 */
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { catalogue } from '../../faults/catalogue/index.ts';
import { runPlan } from '../../faults/chaos.ts';
import type { ChaosEvent } from '../../faults/chaos.ts';
import type { Fault } from '../../faults/contract.ts';
import { scaleOf } from '../../faults/settings.ts';
import { recordingWorld } from '../support/recording-world.ts';

const scale = scaleOf(120_000);
const dice = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 8, maxLength: 8 });
const half = Array.from({ length: 8 }, () => 0.5);
const named = (name: string): Fault =>
  catalogue.find((fault) => fault.name === name) ?? expect.fail(`no fault ${name}`);

/** Runs a fault until it has done something and then some turns more, and aborts. */
async function brokenOff(fault: Fault, numbers: readonly number[], turns: number, fails: readonly string[] = []) {
  const recorded = recordingWorld(fails);
  const count = fault.run(recorded.world, numbers, scale).catch((error: unknown) => String(error));
  for (let n = 0; n < turns; n += 1) await turn();
  recorded.abort();
  return { ...recorded, count: await count };
}

test('each fault has a name of its own in kebab case, a sentence and a length', () => {
  expect(new Set(catalogue.map(({ name }) => name)).size).toBe(catalogue.length);
  for (const { name, about, weight, lasts } of catalogue) {
    expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
    expect(about).toMatch(/^[A-Z].*\.$/);
    expect(weight).toBeGreaterThan(0);
    expect(lasts(scale)).toBeGreaterThan(0);
  }
});

test.each(catalogue.map((fault) => ({ fault, name: fault.name })))(
  '$name leaves nothing behind when the run is broken off',
  async ({ fault }) => {
    await fc.assert(
      fc.asyncProperty(dice, fc.integer({ min: 0, max: 6 }), async (numbers, turns) => {
        const { left, done, disturbances, count } = await brokenOff(fault, numbers, turns);
        expect(left()).toEqual([]);
        expect(done).not.toEqual([]);
        expect(typeof count, String(count)).toBe('number');
        // What was done is booked; a point that nobody came to is nothing that was done.
        if (Number(count) > 0) expect(disturbances.length).toBeGreaterThan(0);
        for (const one of disturbances) {
          expect(one).toMatchObject({
            fault: fault.name,
            target: expect.stringMatching(/./),
            about: expect.any(String),
          });
          expect(one.to).toBeGreaterThanOrEqual(one.from);
        }
      }),
      { numRuns: 30 },
    );
  },
);

test.each(catalogue.map((fault) => ({ fault, name: fault.name })))(
  '$name does the same for the same dice',
  async ({ fault }) => {
    await fc.assert(
      fc.asyncProperty(dice, async (numbers) => {
        const [a, b] = [await brokenOff(fault, numbers, 3), await brokenOff(fault, numbers, 3)];
        expect(a.done).toEqual(b.done);
      }),
      { numRuns: 10 },
    );
  },
);

const away = ['ci.on', 'ci.person', 'ci.forge', 'ask', 'reset', 'readers.wild', 'readers.readLog', 'temporal.restart'];

test.each(catalogue.map((fault) => ({ fault, name: fault.name })))(
  '$name leaves nothing behind when what it needs is away',
  async ({ fault }) => {
    await fc.assert(
      fc.asyncProperty(dice, async (numbers) => {
        const { left } = await brokenOff(fault, numbers, 3, [...away, 'postgres.restart', 'postgres.terminate']);
        expect(left()).toEqual([]);
      }),
      { numRuns: 20 },
    );
  },
);

test('the first process that comes to a point is killed there, and the others pass', async () => {
  const { world, reach, done, disturbances, left, abort } = recordingWorld();
  const run = named('kill-before-call').run(world, [0, ...half.slice(1)], scale);
  expect(reach('worker-1', 'ci', 'after', 'POST /v2/organizations/acme/pipelines/app/builds')).toBe('pass');
  expect(reach('worker-2', 'ci', 'before', 'POST /v2/organizations/acme/pipelines/app/builds')).toBe('drop');
  expect(reach('worker-1', 'ci', 'before', 'POST /v2/organizations/acme/pipelines/app/builds')).toBe('pass');
  abort();
  expect(await run).toBe(1);
  expect(done.filter((what) => what.startsWith('kill'))).toEqual([expect.stringMatching(/^kill worker-2 \d+$/)]);
  expect(disturbances).toEqual([expect.objectContaining({ target: 'worker-2', fault: 'kill-before-call' })]);
  expect(left()).toEqual([]);
});

test('a process that is stopped in the middle of a POST is stopped before the bytes pass, and they pass', async () => {
  const { world, reach, done, abort } = recordingWorld();
  const run = named('freeze-in-post').run(world, [0, ...half], scale);
  expect(reach('worker-1', 'ci', 'before', 'POST /v2/organizations/acme/pipelines/app/builds')).toBe('pass');
  expect(done).toContain(`freeze worker-1 ${scale.freeze}`);
  abort();
  expect(await run).toBe(1);
});

test('what resists is taken off again and again', async () => {
  const { world, left, abort } = recordingWorld();
  let resists = 2;
  const { diskFull } = world.postgres;
  const stubborn = {
    ...world,
    postgres: {
      ...world.postgres,
      async diskFull(full: boolean) {
        if (!full && resists-- > 0) throw new Error('away');
        await diskFull(full);
      },
    },
  };
  const run = named('postgres-disk-full').run(stubborn, half, scale);
  abort();
  expect(await run).toBe(1);
  expect(left()).toEqual([]);
});

const fake = (name: string, run: Fault['run'], alone?: string): Fault => ({
  name,
  about: 'A fault.',
  weight: 1,
  ...(alone === undefined ? {} : { alone }),
  lasts: () => 1,
  run,
});

test('a plan is carried out to its end, whatever fails, and counts what happened', async () => {
  const { world } = recordingWorld();
  const events: ChaosEvent[] = [];
  const catalogueOfThree = [
    fake('twice', async () => 2),
    fake('never', async () => 0),
    fake('broken', () => Promise.reject(new Error('Temporal is away'))),
  ];
  const plan = ['twice', 'broken', 'never', 'twice'].map((fault, n) => ({ at: n, fault, dice: [] }));
  const counts = await runPlan(world, plan, catalogueOfThree, scale, (event) => events.push(event));
  expect(counts).toEqual({ twice: 4, broken: 0, never: 0 });
  expect(events.filter(({ phase }) => phase === 'start').map(({ fault }) => fault)).toEqual(
    plan.map(({ fault }) => fault),
  );
  expect(events).toContainEqual({ n: 1, fault: 'broken', phase: 'failed', about: 'Temporal is away' });
  expect(events.filter(({ phase }) => phase !== 'start')).toHaveLength(4);
});

test('what took longer than planned is over before the next one of its group begins', async () => {
  const { world } = recordingWorld();
  const first = Promise.withResolvers<number>();
  const order: string[] = [];
  const run = (name: string, until?: Promise<number>): Fault =>
    fake(
      name,
      async () => {
        order.push(`${name} begins`);
        await until;
        order.push(`${name} ends`);
        return 1;
      },
      'service',
    );
  const other = fake('other', async () => {
    order.push('another group');
    first.resolve(1);
    return 1;
  });
  const plan = ['slow', 'next', 'other'].map((fault, n) => ({ at: n * 2, fault, dice: [] }));
  await runPlan(world, plan, [run('slow', first.promise), run('next'), other], scale);
  expect(order).toEqual(['slow begins', 'another group', 'slow ends', 'next begins', 'next ends']);
});

test('when the run is broken off what goes on ends, and nothing more begins', async () => {
  const { world, left, abort, done } = recordingWorld();
  const plan = [
    { at: 0, fault: 'clock-hour', dice: half },
    { at: 0, fault: 'webhooks-all-lost', dice: half },
    { at: 3_600_000, fault: 'kill', dice: half },
  ];
  const counts = runPlan(world, plan, catalogue, scale, ({ fault, phase }) => {
    if (fault === 'webhooks-all-lost' && phase === 'start') void turn().then(abort);
  });
  expect(await counts).toEqual({ 'clock-hour': 1, 'webhooks-all-lost': 3, kill: 0 });
  expect(left()).toEqual([]);
  expect(done.some((what) => what.startsWith('kill'))).toBe(false);
});

test('a plan of another catalogue is refused before anything is done', async () => {
  const { world, done } = recordingWorld();
  const plan = [
    { at: 0, fault: 'kill', dice: half },
    { at: 0, fault: 'flood', dice: half },
  ];
  await expect(runPlan(world, plan, catalogue, scale)).rejects.toThrow('the catalogue has no fault flood');
  expect(done).toEqual([]);
});
