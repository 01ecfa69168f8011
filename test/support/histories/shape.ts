import type { Build } from '../../../sim/buildkite/index.ts';
import { buildsOf, isBound } from '../pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle, type SpindleOptions } from '../spindle.ts';
import { until } from '../until.ts';

/** A way that a workflow can go. What is recorded of it is every run that its workflow id had. */
export type Shape = PipelineShape | OtherShape;

interface AnyShape {
  /** Of the files that hold its histories. */
  name: string;
  options?: SpindleOptions;
  /** What its histories must hold, in the words of `traits`: otherwise it went another way than it is named after. */
  has: readonly string[];
}

/** Of another workflow than that of a pipeline. */
export interface OtherShape extends AnyShape {
  /** Starts it, and gives its id when it has ended. */
  workflow(whorl: Spindle): Promise<string>;
}

export interface PipelineShape extends AnyShape {
  /** Default: one job, `ci.yml`, at the simulated CI. */
  files?: Record<string, string>;
  /** What is so before the push. */
  prepare?: (whorl: Spindle) => unknown;
  live(whorl: Spindle, pushed: Pushed): Promise<unknown>;
}

export const oneFile = { 'ci.yml': buildkiteFile() };
export const twoFiles = { 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint') };

/** The nth build of a job, once it is there. */
export const built = (whorl: Spindle, pushed: Pushed, job = 'ci.yml', nth = 1): Promise<Build> =>
  until(`build ${nth} of ${job}`, () => buildsOf(whorl, pushed, job)[nth - 1]);

/** A pipeline of one job whose build runs, as everybody sees it. */
export async function toRunning(whorl: Spindle, pushed: Pushed): Promise<string> {
  const { id } = await built(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  return id;
}

export async function passes(whorl: Spindle, pushed: Pushed, job = 'ci.yml', nth = 1): Promise<void> {
  const { id } = await built(whorl, pushed, job, nth);
  whorl.ci.finish(id, 'passed');
  await pushed.shows(job, 'success');
}

export async function toFailed(whorl: Spindle, pushed: Pushed, job = 'ci.yml'): Promise<string> {
  const { id } = await built(whorl, pushed, job);
  await isBound(pushed, job);
  whorl.ci.finish(id, 'failed');
  await pushed.shows(job, 'failed');
  return id;
}
