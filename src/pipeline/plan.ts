import { isMap, isScalar } from 'yaml';
import { readWhorl } from './whorl-keys.ts';
import { readYaml, valueOf } from './yaml.ts';

/** A trigger, free of the forge that it came from. */
export interface Trigger {
  knot: string;
  rkey: string;
  kind: string;
  repo: { did: string; name: string };
  /** Full commit hash. */
  commit: string;
  /** What a CI files the build under: the branch, the tag, or a pull request's source branch. */
  branch: string;
  tag?: string;
  workflows: { name: string; raw: string }[];
}

/**
 * A workflow file, planned: a target at a provider, or a sentence that tells its author what is wrong. `supersede`: a newer
 * push to the same branch cancels what it runs.
 */
export type PlannedJob =
  | { name: string; provider: string; target: unknown; supersede?: true; refusal?: undefined }
  | { name: string; provider: string | null; target?: undefined; refusal: string };

export type Planner = (options: unknown) => { ok: true; target: unknown } | { ok: false; reason: string };

/** Larger workflow files are refused: nobody writes them by hand. */
const maxFile = 256 * 1024;

/** All files of one trigger together: while they are planned, nothing else is. */
const maxFiles = 1024 * 1024;

/** A reason may quote the file, and is a status, a line of a log and part of a workflow's input. */
const maxRefusal = 500;

/** Plans every workflow file of a trigger on its own: one that is wrong does not hold up the others. */
export function planJobs(trigger: Trigger, planners: Record<string, Planner>): PlannedJob[] {
  let size = 0;
  return trigger.workflows.map(({ name, raw }) => {
    size += raw.length;
    if (size <= maxFiles || raw.length > maxFile) return planJob(name, raw, planners);
    const refusal = `The workflow files up to ${name} are larger than ${maxFiles / 1024 / 1024} MiB together, which is too large.`;
    return { name, provider: null, refusal };
  });
}

/** The first key under `tack:` picks the provider, word for word as tack reads it; `engine:` and `when:` are the forge's. */
export function planJob(name: string, raw: string, planners: Record<string, Planner>): PlannedJob {
  const refuse = (refusal: string, provider: string | null = null): PlannedJob => ({
    name,
    provider,
    refusal: refusal.length > maxRefusal ? `${refusal.slice(0, maxRefusal).toWellFormed()} …` : refusal,
  });
  const known = Object.keys(planners).join(', ');

  if (raw.length > maxFile)
    return refuse(`${name} is larger than ${maxFile / 1024} KiB, which is too large for a workflow file.`);
  const read = readYaml(raw);
  if ('problem' in read) return refuse(`${name} is not valid YAML: ${read.problem}`);
  const { document } = read;
  if (!isMap(document.contents)) return refuse(`${name} is not a YAML mapping, so it holds no "tack:" block.`);

  const tack = document.contents.get('tack', true);
  if (tack === undefined)
    return refuse(
      `${name} has no "tack:" block, so it does not say which CI should run it. ` +
        'Add one, for example: tack: { buildkite: { pipeline: my-pipeline } }',
    );
  const first = isMap(tack) ? tack.items[0] : undefined;
  const provider = first && isScalar(first.key) ? String(first.key.value) : undefined;
  if (provider === undefined)
    return refuse(`The "tack:" block of ${name} names no CI. Name one of: ${known}. For example: tack: { fake: {} }`);

  const planner = Object.hasOwn(planners, provider) ? planners[provider] : undefined;
  if (!planner)
    return refuse(
      `${name} asks for the CI "${provider}", which this spindle does not have. It has: ${known}.`,
      provider,
    );

  const whole = valueOf(document);
  if ('problem' in whole) return refuse(`${name} cannot be read: ${whole.problem}`, provider);
  const planned = planner((whole.value as { tack: Record<string, unknown> }).tack[provider]);
  if (!planned.ok) return refuse(`${name}: ${planned.reason}`, provider);
  const own = readWhorl(whole.value);
  if (!own.ok) return refuse(`${name}: ${own.reason}`, provider);
  return { name, provider, target: planned.target, ...(own.supersede ? { supersede: true } : {}) };
}

/** One line for people: `push main @ c132516`. */
export const titleOf = (trigger: Pick<Trigger, 'kind' | 'branch' | 'tag' | 'commit'>): string =>
  `${trigger.kind.replaceAll('_', ' ')} ${trigger.tag ?? trigger.branch} @ ${trigger.commit.slice(0, 7)}`;
