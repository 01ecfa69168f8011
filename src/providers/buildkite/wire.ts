import { z } from 'zod';

/*
 * Buildkite's JSON, cut down to what we use and read leniently: webhook bodies lack much of what REST answers have
 * (jobs, author, env), times come in two forms, and any field may be null. A field of a wrong type counts as absent;
 * only a build without an id is no build.
 */

/** PostgreSQL keeps neither NUL nor half of a surrogate pair; JSON can carry both. */
export const isStorable = (value: string): boolean => !value.includes('\0') && value.isWellFormed();

const text = z.string().refine(isStorable).optional().catch(undefined);
const id = z.string().min(1).max(100).refine(isStorable);
const flag = z.boolean().catch(false);
const whole = z.int().optional().catch(undefined);

/** The part of a job that decides what a failed build means, and what is told of it as a step. */
const jobShape = z.object({
  id,
  type: text,
  name: text,
  label: text,
  step_key: text,
  command: text,
  state: text,
  soft_failed: flag,
  retried: flag,
  retried_in_job_id: text,
  retries_count: whole,
  retry_source: z.object({ job_id: text }).optional().catch(undefined),
  parallel_group_index: whole,
  parallel_group_total: whole,
  exit_status: whole,
  broken_reason: text,
  created_at: text,
  started_at: text,
  finished_at: text,
  unblocked_at: text,
  unblocked_by: z.object({ name: text }).optional().catch(undefined),
  triggered_build: z.object({ number: whole, web_url: text }).optional().catch(undefined),
});

const buildShape = z.object({
  id,
  number: whole,
  url: text,
  web_url: text,
  state: text,
  blocked: flag,
  blocked_state: text,
  cancel_reason: text,
  commit: text,
  source: text,
  created_at: text,
  finished_at: text,
  meta_data: z.record(z.string(), z.unknown()).catch({}),
  creator: z.object({ id: text, email: text }).optional().catch(undefined),
  rebuilt_from: z.object({ id }).optional().catch(undefined),
  jobs: z
    .array(jobShape.optional().catch(undefined))
    .transform((jobs) => jobs.filter((job) => job !== undefined))
    .optional()
    .catch(undefined),
});

export type BuildkiteJob = z.infer<typeof jobShape>;

/** A build as REST answers or as a webhook carries it. `jobs` is absent when the body did not say. */
export type BuildkiteBuild = z.infer<typeof buildShape>;

/** The build in a parsed JSON value, or undefined when there is none. */
export function parseBuild(value: unknown): BuildkiteBuild | undefined {
  const parsed = buildShape.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** The job of a webhook's body, or undefined when there is none. */
export function parseJob(value: unknown): BuildkiteJob | undefined {
  const parsed = jobShape.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** Where a build lives: what every call about it needs. `created` in ms, to bound lists. */
export type Address = { org: string; pipeline: string; created?: number };

const addressShape = z.object({ org: z.string(), pipeline: z.string(), created: whole });

/** The address in a build's `ref.data`, or undefined when somebody else wrote it. */
export function parseAddress(data: unknown): Address | undefined {
  const parsed = addressShape.safeParse(data);
  if (!parsed.success || !isSlug(parsed.data.org) || !isSlug(parsed.data.pipeline)) return undefined;
  const { org, pipeline, created } = parsed.data;
  return { org, pipeline, ...(created === undefined ? {} : { created }) };
}

/** Organisation, pipeline and number in a build's API address; real webhooks say them nowhere else. */
export function parseBuildUrl(url: string | undefined): { org: string; pipeline: string; number: number } | undefined {
  const parts = /\/organizations\/([^/]+)\/pipelines\/([^/]+)\/builds\/(\d+)$/.exec(url ?? '');
  return parts?.[1] && parts[2] ? { org: parts[1], pipeline: parts[2], number: Number(parts[3]) } : undefined;
}

/** Slugs become parts of a path, so nothing that could climb out of it passes. */
export const isSlug = (value: string): boolean => /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(value);

/**
 * A time in whole ms, or undefined. REST writes `2023-08-20T19:03:16.123Z`, webhooks write `2018-11-01 15:03:16 UTC`.
 */
export function parseTime(value: string | undefined): number | undefined {
  if (!value) return undefined;
  const ms = Date.parse(value.replace(/^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}(?:\.\d+)?) UTC$/, '$1T$2Z'));
  return Number.isNaN(ms) ? undefined : Math.floor(ms);
}
