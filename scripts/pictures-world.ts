import { setTimeout as delay } from 'node:timers/promises';
import { follower } from '../demo/push.ts';
import { demoFolder, failing, startWorld, type Stops, type World } from '../demo/world.ts';
import { answer } from '../sim/buildkite/index.ts';
import { houseName } from '../src/roles/housekeeping.ts';

/** The world of the demo with what operators meet in it. */
export interface Situations {
  world: World;
  /** Pipelines by what they show. */
  pipelines: { green: string; parked: string; missing: string; pending: string };
  schedule: string;
  stop(): Promise<void>;
}

const file = (pipeline: string): string => `engine: tack\ntack:\n  buildkite:\n    pipeline: ${pipeline}\n`;
const twoJobs = { 'ci.yml': file('whorl-demo'), 'lint.yml': file('whorl-demo-lint') };

export async function startSituations(): Promise<Situations> {
  const stops: Stops = [];
  const folder = await demoFolder();
  const stop = async (): Promise<void> => {
    for (let one = stops.pop(); one; one = stops.pop()) await one();
    await folder.remove();
  };
  try {
    const { dir, logFile } = folder;
    const { signal } = new AbortController();
    const world = await startWorld({ dir, logFile, watch: follower(), say, stops, signal, reopenings: true });
    return { world, pipelines: await situations(world), schedule: houseName('whorl'), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const say = (text: string): void => console.log(text);

async function situations(world: World): Promise<Situations['pipelines']> {
  const { ci } = world;
  const green = push(world, twoJobs, 'main');
  await ended(world, green);
  ci.script(failing);
  await ended(world, push(world, twoJobs, 'flaky-tests'));

  ci.revokeToken(ci.token);
  const parked = push(world, twoJobs, 'main');
  await parkedFor(world, parked, 'CredentialsRejected');
  ci.addToken({ token: ci.token });
  const missing = push(world, { 'ci.yml': file('whorl-demo'), 'deploy.yml': file('deploy') }, 'main');
  await parkedFor(world, missing, 'TargetMissing');

  // The CI has an outage from now on, so what follows stays as it is.
  ci.onRequest({ route: 'create' }, answer(503), 10_000);
  const pending = push(world, twoJobs, 'feature/search');
  await until('an activity has been tried a few times', async () => {
    const { raw } = await world.client.workflow.getHandle(pending).describe();
    return raw.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 3);
  });
  await delay(2_000);
  return { green, parked, missing, pending };
}

function push({ knot, repo }: World, files: Record<string, string>, branch: string): string {
  const workflows = Object.entries(files).map(([name, raw]) => ({ name, raw }));
  const { rkey } = knot.push({ repo, workflows, ref: `refs/heads/${branch}` });
  return `pipeline/${knot.host}/${rkey}`;
}

const ended = (world: World, pipeline: string): Promise<unknown> =>
  until(`${pipeline} ends`, async () => {
    const jobs = await world.sql<{ rank: number }[]>`select rank from jobs where pipeline = ${pipeline}`;
    return jobs.length > 0 && jobs.every(({ rank }) => rank === 2);
  });

const parkedFor = (world: World, pipeline: string, cause: string): Promise<unknown> =>
  until(`${pipeline} is parked`, async () => {
    const query = `WorkflowId = '${pipeline}' AND Parked = '${cause}'`;
    return (await world.client.workflow.count(query)).count > 0;
  });

async function until(what: string, look: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (await look().catch(() => false)) return;
    await delay(100);
  }
  throw new Error(`waited a minute in vain until ${what}`);
}
