import { Command } from 'commander';
import { isEnd } from '../pipeline/status.ts';
import { type CommandRow, type Overview, overview, type StatusRow, type TriggerRow } from '../store/overview.ts';
import type { JobRow, PipelineRow } from '../store/pipelines.ts';
import type { Kept } from '../workflows/contract.ts';
import { paintStates } from './colours.ts';
import { withDatabase } from './database.ts';
import { findPipeline, pipelineArgument } from './find.ts';
import { fitted, isNarrow, wrapped } from './fit.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, time } from './text.ts';

/** `whorl show`: all that the database knows of one pipeline. */
export function showCommand(shell: Shell = ownShell): Command {
  return new Command('show')
    .description('show the jobs of a pipeline, what was published of them, and what waits')
    .argument(...pipelineArgument)
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'For a trigger that did not become a pipeline it shows why: refused, held, or from before its repository was chosen.',
        examples: [
          'whorl show pipeline/knot1.tangled.sh/3lwz7gq5vks22',
          'whorl show knot1.tangled.sh/3lwz7gq5vks22',
          'whorl show 3lwz7gq5vks22 --json',
        ],
      }),
    )
    .action(async (text: string, options: { json?: true }) => {
      const found = await withDatabase(shell.env, async (sql) => overview(sql, await findPipeline(sql, text)));
      if (options.json) shell.print(json(asData(found)));
      else for (const line of asText(found, shell)) shell.print(line);
    });
}

/** What `--json` prints: a promise to scripts. `why` joins the error, the note, and the refusal of a job. */
function asData({ id, pipeline, trigger, statuses, commands }: Overview) {
  const { jobs = [], ...about } = pipeline ?? {};
  return {
    pipeline: id,
    ...about,
    id,
    trigger: trigger ?? null,
    jobs: jobs.map((job) => ({
      name: job.name,
      provider: job.provider,
      attempt: job.attempt,
      epoch: job.epoch,
      status: job.status,
      error: job.error,
      exitCode: job.exitCode,
      note: noteOf(job),
      refusal: job.refusal,
      parked: isParked(job),
      build: job.build,
      url: job.url,
    })),
    statuses,
    commands,
  };
}

function asText({ id, pipeline, trigger, statuses, commands }: Overview, { colours, terminal }: Shell): string[] {
  const width = terminal?.size().columns;
  const section = (rows: string[][], states = -1): string[] => [
    '',
    ...fitted(rows, {
      width,
      wrap: true,
      keep: rows[0]?.map((_, column) => column) ?? [],
      paint: paintStates(colours, states),
    }),
  ];
  // A link should stay in one piece, and then there is no room for sentences beside it.
  const apart = isNarrow(terminal);
  const columns = (row: string[]): string[] => (apart ? row.slice(0, 4) : row);
  const whys = apart ? (pipeline?.jobs ?? []).filter((job) => [...reasons(job)].length > 0) : [];
  const parked = pipeline?.jobs.some(isParked) ?? false;
  return [
    plain(id),
    ...(pipeline ? about(pipeline).flatMap((line) => wrapped(line, width ?? Infinity)) : []),
    ...(trigger && !(pipeline && trigger.state === 'started') ? [fateOf(trigger)] : []),
    ...(pipeline
      ? section([['JOB', 'ATTEMPT', 'STATUS', 'BUILD', 'WHY'], ...pipeline.jobs.map(jobLine)].map(columns), 2)
      : []),
    ...(whys.length > 0 ? section(whys.map((job) => [`${job.name}:`, [...reasons(job)].join('; ')])) : []),
    ...(pipeline && pipeline.jobs.length > 0
      ? ['', `What they wrote: \`whorl logs ${plain(id)} [job] [--follow]\`.`]
      : []),
    ...(parked ? ['', `What waits for the operator goes on after \`whorl retry ${plain(id)}\`.`] : []),
    ...(statuses.length > 0
      ? section([['PUBLISHED', 'JOB', 'ATTEMPT', 'STATUS', 'REMARK'], ...statuses.map(statusLine)], 3)
      : []),
    ...(commands.length > 0
      ? section([['WAITING SINCE', 'COMMAND', 'JOB', 'BY', 'ID', 'WHY'], ...commands.map(commandLine)])
      : []),
  ];
}

const about = ({ title, did, repo, knot, commit, branch, createdAt }: PipelineRow): string[] => [
  plain(title),
  plain(`${did}/${repo} on ${knot}, commit ${commit}, branch ${branch}, since ${time(createdAt)}`),
];

/** What became of a trigger, or why nothing has yet. */
function fateOf({ state, reason, receivedAt, holdUntil, tries }: TriggerRow): string {
  const because = reason === null ? '' : `: ${reason}`;
  const fates = {
    new: `waits to be started${tries > 0 ? `, after ${tries} failed ${tries === 1 ? 'try' : 'tries'}` : ''}${because}`,
    held: `is held${holdUntil ? ` until ${time(holdUntil)}` : ''}${because}`,
    started: `was started${because}`,
    ended: `ended at once${because}`,
    refused: `was refused${because}`,
    early: `was not started, being too early${because}`,
  } satisfies Record<TriggerRow['state'], string>;
  return plain(`The trigger of ${time(receivedAt)} ${fates[state]}`);
}

const jobLine = (job: JobRow): string[] => [
  job.name,
  `${job.attempt}`,
  job.status ?? '-',
  job.url ?? job.build ?? '-',
  [...reasons(job)].join('; '),
];

function* reasons(job: JobRow): Generator<string> {
  const told = new Set([job.error, noteOf(job), job.refusal]);
  for (const reason of told) if (reason) yield reason;
  if (job.exitCode !== null && job.exitCode !== 0) yield `exit code ${job.exitCode}`;
}

const noteOf = ({ state }: JobRow): string | null => (state as Kept | null)?.note ?? null;

/** The workflow publishes what waits for a person as a status that goes on, with this before the reason. */
const isParked = ({ status, error }: JobRow): boolean =>
  status !== null && !isEnd(status) && (error?.startsWith('Waiting for the operator') ?? false);

const statusLine = (row: StatusRow): string[] => [
  time(row.createdAt),
  row.job,
  `${row.attempt}`,
  row.status,
  [remarkOf(row), row.error ?? ''].filter((text) => text !== '').join('; '),
];

function remarkOf({ state, resend }: StatusRow): string {
  if (state === 'due') return 'withheld until then';
  if (state === 'skipped') return 'overtaken, not published';
  return resend ? 'sent once more' : '';
}

const commandLine = ({ receivedAt, kind, job, by, id, result }: CommandRow): string[] => [
  time(receivedAt),
  kind,
  job ?? 'all jobs',
  by,
  id,
  result ?? '',
];
