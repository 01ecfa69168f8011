import { styleText } from 'node:util';

/** One thing that happened to a pipeline. Without `job` it is about the pipeline as a whole. */
export interface Step {
  stage: 'trigger' | 'workflow' | 'build' | 'webhook' | 'status';
  what: string;
  job?: string;
  /** Since the push. */
  ms: number;
  /** Why, when it went wrong. */
  why?: string;
}

const stages: Step['stage'][] = ['trigger', 'workflow', 'build', 'webhook', 'status'];
const cell = 11;

/** All that happened so far, a row for each kind of step, a column for each job. At least 80 columns wide. */
export function table(jobs: string[], steps: Step[]): string[] {
  const columns = [undefined, ...jobs];
  const head = columns.map((job) => (job ?? 'pipeline').slice(0, cell).padStart(cell)).join(' ');
  const rows = stages.flatMap((stage) => rowsOf(stage, steps));
  let last = '';
  const lines = rows.map(({ stage, what }) => {
    const cells = columns.map((job) =>
      msOf(steps.find((step) => is(step, stage, what) && step.job === job)).padStart(cell),
    );
    const label = `${(stage === last ? '' : stage).padEnd(9)} ${colour(stage, what, what.padEnd(18))}`;
    last = stage;
    return `${label} ${cells.join(' ')}`.trimEnd();
  });
  return [faint(`${'ms since the push'.padEnd(28)} ${head}`), ...lines, ...reasons(steps)];
}

/** The same for a screen that cannot be written over. */
export const line = ({ stage, what, job = '', ms, why }: Step): string =>
  [`${String(ms).padStart(6)} ms`, stage.padEnd(8), job.padEnd(10), colour(stage, what, what), why ?? '']
    .join('  ')
    .trimEnd();

/** A kind of step has its place by stage, then by when it was first seen. */
function rowsOf(stage: Step['stage'], steps: Step[]): Pick<Step, 'stage' | 'what'>[] {
  const names = steps.filter((step) => step.stage === stage).toSorted((a, b) => a.ms - b.ms);
  return [...new Set(names.map(({ what }) => what))].map((what) => ({ stage, what }));
}

const is = (step: Step, stage: Step['stage'], what: string): boolean => step.stage === stage && step.what === what;

const msOf = (step: Step | undefined): string => (step ? String(step.ms) : '');

const reasons = (steps: Step[]): string[] =>
  steps.flatMap(({ job, what, why }) => (why === undefined ? [] : [`${job ?? ''} ${what}: ${why}`]));

const colours: Record<string, 'green' | 'red' | 'yellow'> = {
  success: 'green',
  failed: 'red',
  timeout: 'red',
  cancelled: 'red',
  running: 'yellow',
};

const colour = (stage: Step['stage'], what: string, text: string): string => {
  const name = stage === 'status' ? colours[what] : undefined;
  return name === undefined ? text : styleText(name, text, { stream: process.stdout });
};

export const faint = (text: string): string => styleText('dim', text, { stream: process.stdout });
export const bold = (text: string): string => styleText('bold', text, { stream: process.stdout });
