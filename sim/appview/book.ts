import { z } from 'zod';

/** How an appview of late 2025 keeps statuses (tangled core, `appview/state/spindlestream.go`, `appview/db/pipeline.go`). */
export type Entry = {
  status: string;
  /** whole seconds: the appview stores no finer */
  at: Date;
  rkey: string;
  error?: string;
  exitCode?: number;
};

export type JobView = {
  /** the last of the history; unknown words would show as failed */
  status: string;
  /** as the appview sorts it: by second, then by arrival */
  history: Entry[];
  /** of the last entry */
  error?: string;
  /** last start state to last finish state; absent while there is no finish */
  durationMs?: number;
};

export type PipelineView = {
  /** false: the appview has not seen this pipeline, so its statuses are lost */
  known: boolean;
  jobs: Record<string, JobView>;
};

export type BookOptions = {
  /** the appview's clock, in ms */
  now: () => number;
  /** pipelines that count as known without having been learnt */
  knows?: (knot: string, rkey: string) => boolean;
  /** reruns happen, so an ended job may start again; default false: any step down is a problem */
  reopenings?: boolean;
};

/** What became of one frame. */
export type Outcome =
  | { kind: 'ignored' }
  /** its (spindle, rkey) was there already */
  | { kind: 'repeated' }
  /** the appview could not store it, and will not ask again */
  | { kind: 'lost'; reason: string }
  | { kind: 'stored'; knot: string; rkey: string; job: string; entry: Entry };

/** An entry with the whole record that it came as. */
type Row = Entry & { job: string; record: string };

type Pipeline = { knot: string; rkey: string; jobs: Map<string, Row[]> };

const NSID = 'sh.tangled.pipeline.status';
const RANKS: Record<string, number> = { pending: 0, running: 1, success: 2, failed: 2, timeout: 2, cancelled: 2 };
const TID = /^[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}$/;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const PIPELINE = /^at:\/\/did:web:([A-Za-z0-9.-]+(?::\d+)?)\/sh\.tangled\.pipeline\/([^/%?#\s]+)$/;

const envelope = z.object({ nsid: z.string().nullish(), rkey: z.string().nullish(), event: z.unknown().optional() });
const statusRecord = z.object({
  $type: z.string().nullish(),
  pipeline: z.string().min(1),
  workflow: z.string().min(1),
  status: z.string().min(1),
  createdAt: z.string().min(1),
  error: z.string().nullish(),
  exitCode: z.int().nullish(),
});

export type Book = ReturnType<typeof createBook>;

/** The tables of an appview, and a list of everything that a spindle did wrong. */
export function createBook({ now, knows = () => false, reopenings = false }: BookOptions) {
  const learnt = new Set<string>();
  const pipelines = new Map<string, Pipeline>();
  const byKey = new Map<string, Row>();
  const problems: string[] = [];
  const counts = { stored: 0, repeated: 0, lost: 0 };

  const known = (knot: string, rkey: string): boolean => learnt.has(`${knot}/${rkey}`) || knows(knot, rkey);
  const lose = (reason: string): Outcome => {
    counts.lost++;
    problems.push(reason);
    return { kind: 'lost', reason };
  };

  const store = (spindle: string, rkey: string, status: z.infer<typeof statusRecord>): Outcome => {
    const about = `status ${rkey} (${status.workflow} ${status.status})`;
    const record = JSON.stringify(status);
    const earlier = byKey.get(`${spindle} ${rkey}`);
    if (earlier) {
      counts.repeated++;
      if (earlier.record !== record) {
        problems.push(`${about} has the rkey of another (${earlier.job} ${earlier.status}), so it is not stored`);
      }
      return { kind: 'repeated' };
    }
    const [, knot, pipelineRkey] = PIPELINE.exec(status.pipeline) ?? [];
    if (!knot || !pipelineRkey) {
      const form = 'at://did:web:KNOT/sh.tangled.pipeline/RKEY';
      return lose(`${about} names its pipeline ${JSON.stringify(status.pipeline)}, which is not ${form}`);
    }
    const id = `${knot}/${pipelineRkey}`;
    if (!known(knot, pipelineRkey)) return lose(`${about} is for a pipeline that is not known (yet): ${id}`);

    if (status.$type && status.$type !== NSID) problems.push(`${about} has the $type ${status.$type}`);
    if (!(status.status in RANKS)) problems.push(`${about} is none of the six statuses, and shows as failed`);
    if (!TID.test(rkey)) problems.push(`${about} has an rkey that is no TID`);
    const written = RFC3339.test(status.createdAt) ? Date.parse(status.createdAt) : Number.NaN;
    if (Number.isNaN(written)) problems.push(`${about} has a createdAt that is not RFC 3339: ${status.createdAt}`);
    if (written > now()) problems.push(`${about} has a createdAt in the future: ${status.createdAt}`);

    const at = written <= now() ? written : now();
    const row: Row = {
      status: status.status,
      at: new Date(Math.floor(at / 1000) * 1000),
      rkey,
      ...(status.error && { error: status.error }),
      ...(typeof status.exitCode === 'number' && { exitCode: status.exitCode }),
      job: status.workflow,
      record,
    };
    byKey.set(`${spindle} ${rkey}`, row);
    const pipeline = pipelines.get(id) ?? { knot, rkey: pipelineRkey, jobs: new Map<string, Row[]>() };
    pipelines.set(id, pipeline);
    pipeline.jobs.set(row.job, [...(pipeline.jobs.get(row.job) ?? []), row].toSorted(bySecond));
    counts.stored++;
    return { kind: 'stored', knot, rkey: pipelineRkey, job: row.job, entry: entryOf(row) };
  };

  return {
    counts: counts as Readonly<typeof counts>,

    /** The appview has seen this pipeline: from now on it can store its statuses. */
    learn: (knot: string, rkey: string): void => void learnt.add(`${knot}/${rkey}`),

    /** Takes one frame of a spindle's `/events`. */
    receive(spindle: string, text: string): Outcome {
      let frame: z.infer<typeof envelope>;
      try {
        frame = envelope.parse(JSON.parse(text));
      } catch {
        return lose(
          `a frame is not a JSON envelope, which stops one worker of an appview for ever: ${text.slice(0, 200)}`,
        );
      }
      if (frame.nsid !== NSID) return { kind: 'ignored' };
      const rkey = frame.rkey ?? '';
      const record = statusRecord.safeParse(frame.event);
      if (!record.success)
        return lose(`status ${rkey} cannot be read: ${z.prettifyError(record.error).replaceAll('\n', ' ')}`);
      return store(spindle, rkey, record.data);
    },

    /** What a person sees on the pipeline's page. */
    view(knot: string, rkey: string): PipelineView {
      const jobs = pipelines.get(`${knot}/${rkey}`)?.jobs ?? new Map<string, Row[]>();
      const views = [...jobs].map(([name, rows]): [string, JobView] => [name, jobView(rows.map(entryOf))]);
      return { known: known(knot, rkey), jobs: Object.fromEntries(views) };
    },

    /** Every pipeline that has a status, as [knot, rkey]. */
    pipelines: (): [string, string][] => [...pipelines.values()].map(({ knot, rkey }) => [knot, rkey]),

    /** Everything that was wrong, in words: first frame by frame, then what the histories show. */
    problems(): string[] {
      const all = [...problems];
      for (const [id, { jobs }] of pipelines) {
        for (const [job, rows] of jobs) {
          for (const problem of historyProblems(rows, reopenings)) all.push(`${id} ${job}: ${problem}`);
        }
      }
      return all;
    },
  };
}

/** The sort is stable, so rows of one second stay in the order of their arrival. */
const bySecond = (a: Row, b: Row): number => a.at.getTime() - b.at.getTime();

function entryOf({ status, at, rkey, error, exitCode }: Row): Entry {
  return { status, at, rkey, ...(error && { error }), ...(exitCode !== undefined && { exitCode }) };
}

function jobView(history: Entry[]): JobView {
  const last = history.at(-1);
  const lastOf = (finished: boolean): Entry | undefined =>
    history.findLast((entry) => isEnd(entry.status) === finished);
  const [start, end] = [lastOf(false), lastOf(true)];
  return {
    status: last?.status ?? '',
    history,
    ...(last?.error && { error: last.error }),
    ...(start && end && end.at >= start.at && { durationMs: end.at.getTime() - start.at.getTime() }),
  };
}

function historyProblems(history: Row[], reopenings: boolean): string[] {
  return history.flatMap((row, i) => {
    const before = history[i - 1];
    if (!before || before.status === row.status) return [];
    const change = `${before.status} and ${row.status}`;
    const sameSecond = before.at.getTime() === row.at.getTime();
    const down = (RANKS[row.status] ?? 2) < (RANKS[before.status] ?? 2) && !(reopenings && isEnd(before.status));
    return [
      ...(sameSecond ? [`${change} are of the same second, ${row.at.toISOString()}, so only arrival orders them`] : []),
      ...(down ? [`goes down from ${before.status} to ${row.status}`] : []),
    ];
  });
}

const isEnd = (status: string): boolean => (RANKS[status] ?? 2) === 2;
