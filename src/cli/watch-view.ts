import type { ListedJob, ListedPipeline } from '../store/pipeline-list.ts';
import { paintStates } from './colours.ts';
import { fitted } from './fit.ts';
import type { Shell, Terminal } from './shell.ts';
import { json, plain, time } from './text.ts';
import { age } from './when.ts';

/** Where changes are shown. */
export interface View {
  /** @param waiting sentences about what is no pipeline yet */
  show(pipelines: readonly ListedPipeline[], waiting: readonly string[]): void;
  /** The terminal has another size. */
  onResize(redraw: () => void): void;
  /** Leaves the terminal as it was, with what was shown last. Done twice it changes nothing. */
  close(): void;
}

/** Draws in place: what was drawn last is drawn over. */
export function screen({ colours }: Shell, terminal: Terminal): View {
  let drawn = 0;
  let begun = false;
  let redraw = (): void => {};
  const resized = (): void => redraw();
  // The cursor comes back also when the process ends in a way of its own.
  const restore = (): void => {
    if (!begun) return;
    begun = false;
    process.off('SIGWINCH', resized);
    process.off('exit', restore);
    terminal.write('\u001b[?25h');
  };
  return {
    onResize: (callback) => void (redraw = callback),
    show(pipelines, waiting) {
      const { columns, rows } = terminal.size();
      const lines = fewer([...tableOf(pipelines, columns, colours), ...waiting.map(plain)], rows - 1);
      if (!begun) {
        begun = true;
        process.on('SIGWINCH', resized);
        process.on('exit', restore);
      }
      const up = drawn > 0 ? `\u001b[${drawn}F` : '';
      terminal.write(`\u001b[?25l${up}${lines.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`);
      drawn = lines.length;
    },
    close: restore,
  };
}

/** What does not fit on a screen could not be drawn over. */
const fewer = (lines: readonly string[], most: number): string[] =>
  lines.length <= most
    ? [...lines]
    : [...lines.slice(0, Math.max(0, most - 1)), `… and ${lines.length - most + 1} more`];

function tableOf(pipelines: readonly ListedPipeline[], width: number, colours: boolean | undefined): string[] {
  const rows = pipelines.flatMap(({ knot, rkey, createdAt, state, jobs, repo, branch, commit }) => [
    [`${knot}/${rkey}`, state, age(createdAt), `${repo} ${branch} ${commit.slice(0, 7)}`],
    ...jobs.map((job) => [`  ${job.name}`, stateOf(job), attemptOf(job), job.error ?? '']),
  ]);
  const head = ['PIPELINE', 'STATE', 'AGE', `${time(new Date())}, Ctrl-C ends`];
  return fitted([head, ...rows], { width, paint: paintStates(colours, 1) });
}

const stateOf = ({ status, parked }: ListedJob): string => (parked === null ? (status ?? 'pending') : 'parked');
const attemptOf = ({ attempt }: ListedJob): string => (attempt > 1 ? `#${attempt}` : '');

/** Prints a line for each change of a job, and one for each sentence, once. */
export function linePrinter({ print }: Shell, asJson: boolean): View {
  const told = new Map<string, string>();
  const tell = (key: string, value: string, line: () => string): void => {
    if (told.get(key) === value) return;
    told.set(key, value);
    print(line());
  };
  return {
    onResize() {},
    close() {},
    show(pipelines, waiting) {
      // Oldest first, as they happened.
      for (const { id, state, jobs } of pipelines.toReversed()) {
        for (const job of jobs) {
          const value = JSON.stringify([job.attempt, job.status, job.error, job.parked]);
          tell(`${id} ${job.name}`, value, () => (asJson ? jobData(id, state, job) : jobLine(id, job)));
        }
        if (jobs.length === 0) tell(id, state, () => (asJson ? jobData(id, state, null) : plain(`${id} has no jobs`)));
      }
      if (!asJson) for (const sentence of waiting) tell(sentence, '', () => plain(sentence));
    },
  };
}

const jobLine = (id: string, job: ListedJob): string =>
  plain(
    [
      time(new Date()),
      id.replace(/^pipeline\//, ''),
      job.name,
      ...(job.attempt > 1 ? [`#${job.attempt}`] : []),
      stateOf(job),
      ...(job.error === null ? [] : [job.error]),
    ].join('  '),
  );

/** What `--json` prints: a promise to scripts. */
const jobData = (pipeline: string, state: string, job: ListedJob | null): string =>
  json({ at: new Date(), pipeline, state, job: job?.name ?? null, ...job, name: undefined }, 0);
