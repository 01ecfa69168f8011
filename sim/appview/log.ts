/** A step as the page of a job shows it. */
export interface LogBlock {
  /** the `step_id` of its frames */
  id: number;
  name: string;
  /** in blue above the lines; empty: none */
  command: string;
  /** a system step starts folded */
  kind: 'system' | 'user';
  startedAt: Date;
  /** what its timer stopped at; absent while it runs */
  durationMs?: number;
  /** one for each data frame, as it came, codes of colours included */
  lines: string[];
}

/** What a person sees of a log, and what was wrong with it. */
export interface LogPage {
  blocks: LogBlock[];
  /** frames that nobody sees, each with why */
  lost: { text: string; reason: string }[];
  /** what a person sees, but should not have to: a step without an end, one that was started twice */
  problems: string[];
}

export type LogReader = ReturnType<typeof createLogPage>;

interface Line {
  kind: string;
  content: string;
  time: Date;
  stepId: number;
  stepStatus: string;
  stepKind: number;
  stepCommand: string;
}

/**
 * The page that an appview makes of the frames of `/logs` (tangled core, `appview/pipelines`, `spindle/models`): what its
 * Go decoder does not take is skipped, and a line of a step that was not opened has no place to go.
 */
export function createLogPage({ keepLines = true }: { keepLines?: boolean } = {}) {
  const blocks = new Map<number, LogBlock>();
  const order: LogBlock[] = [];
  const lost: LogPage['lost'] = [];
  const problems: string[] = [];
  let count = 0;

  const lose = (text: string, reason: string): void => void lost.push({ text: text.slice(0, 1000), reason });

  const start = (line: Line, text: string): void => {
    if (blocks.has(line.stepId)) {
      // the page has two elements of one id then, and lines go to the first
      problems.push(
        `step ${line.stepId} is started twice, as "${blocks.get(line.stepId)?.name}" and "${line.content}"`,
      );
      return lose(text, `step ${line.stepId} is there already`);
    }
    const block: LogBlock = {
      id: line.stepId,
      name: line.content,
      command: line.stepCommand,
      kind: line.stepKind === 0 ? 'system' : 'user',
      startedAt: line.time,
      lines: [],
    };
    blocks.set(line.stepId, block);
    order.push(block);
  };

  const end = (line: Line, text: string): void => {
    const block = blocks.get(line.stepId);
    if (!block) return lose(text, `step ${line.stepId} was never started`);
    if (block.durationMs !== undefined) problems.push(`step ${line.stepId} ends twice`);
    block.durationMs = line.time.getTime() - block.startedAt.getTime();
    if (block.durationMs < 0) problems.push(`step ${line.stepId} ends ${-block.durationMs} ms before its start`);
  };

  return {
    /** Takes one text frame. */
    receive(text: string): void {
      const line = decoded(text);
      if (typeof line === 'string') return lose(text, line);
      if (line.kind === 'control' && line.stepStatus === 'start') return start(line, text);
      if (line.kind === 'control' && line.stepStatus === 'end') return end(line, text);
      if (line.kind !== 'data') return lose(text, `nothing is shown for ${line.kind} "${line.stepStatus}"`);
      const block = blocks.get(line.stepId);
      if (!block) return lose(text, `step ${line.stepId} was never started`);
      count++;
      if (keepLines) block.lines.push(line.content);
    },
    /** lines that are shown so far */
    lines: (): number => count,
    /** `over`: nothing more will come, so what has no end never gets one */
    page: (over = false): LogPage => ({
      blocks: order,
      lost,
      problems: [
        ...problems,
        ...order.flatMap(({ id, name, durationMs }) =>
          over && durationMs === undefined ? [`step ${id} "${name}" has no end, its timer runs on`] : [],
        ),
      ],
    }),
  };
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** A frame as Go's decoder reads it into a `LogLine`, or why it does not. */
function decoded(text: string): Line | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'not JSON';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not a JSON object';
  // names are matched without regard to case; null leaves the zero value
  const fields = new Map(Object.entries(value).map(([name, field]): [string, unknown] => [name.toLowerCase(), field]));
  const problems: string[] = [];
  const string = (name: string): string => {
    const field = fields.get(name) ?? '';
    if (typeof field === 'string') return field;
    problems.push(`${name} is not a string`);
    return '';
  };
  const integer = (name: string): number => {
    const field = fields.get(name) ?? 0;
    if (!Number.isSafeInteger(field)) problems.push(`${name} is not a whole number`);
    return Number(field);
  };
  const written = fields.get('time');
  const time = new Date(typeof written === 'string' && TIME.test(written) ? written : Number.NaN);
  if (Number.isNaN(time.getTime())) problems.push('time is not RFC 3339');
  const line: Line = {
    kind: string('kind'),
    content: string('content'),
    time,
    stepId: integer('step_id'),
    stepStatus: string('step_status'),
    stepKind: integer('step_kind'),
    stepCommand: string('step_command'),
  };
  string('stream');
  return problems[0] ?? line;
}
