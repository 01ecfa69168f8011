import { z } from 'zod';
import type { Plan } from '../provider.ts';
import { type OnBlock, onBlockWords } from './state.ts';
import { isSlug, isStorable } from './wire.ts';

/** Where and how a job is built: what `plan` makes of the block under `tack.buildkite`. */
export type BuildkiteTarget = {
  org: string;
  pipeline: string;
  /** Instead of the trigger's. */
  branch?: string;
  commit?: string;
  message?: string;
  env?: Record<string, string>;
  meta_data?: Record<string, string>;
  clean_checkout?: boolean;
  on_block?: OnBlock;
};

const reserved = ['tack:', 'whorl_', 'buildkite:'];

/** An empty value in YAML is null: as good as absent. */
const optional = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);

const line = (key: string) => {
  const error = `tack.buildkite.${key} must be a text; put it in quotes`;
  return z
    .string({ error })
    .min(1, `tack.buildkite.${key} is empty; give it a value or leave the key out`)
    .refine(isStorable, `tack.buildkite.${key} holds characters that are no text`);
};

/** Buildkite's own are shorter. */
const longestSlug = 200;

const slug = (key: string, hint: string) =>
  z
    .string({
      error: (issue) =>
        issue.input == null
          ? `tack.buildkite.${key} is missing; ${hint}`
          : `tack.buildkite.${key} must be a text; ${hint}`,
    })
    .trim()
    .min(1, `tack.buildkite.${key} is empty; ${hint}`)
    .max(longestSlug, `tack.buildkite.${key} is longer than any slug; ${hint}`)
    .refine(isSlug, `tack.buildkite.${key} is not a slug; ${hint}`);

const texts = (key: string) =>
  z.record(
    z
      .string()
      .min(1, `tack.buildkite.${key} has an empty name`)
      .refine(isStorable, `a name in tack.buildkite.${key} is no text`),
    z
      .union([z.string(), z.number(), z.boolean(), z.null()], {
        error: (issue) =>
          `tack.buildkite.${key}.${String(issue.path?.at(-1) ?? '')} must be a text, a number, or true or false`,
      })
      .transform((value) => (value === null ? '' : String(value)))
      .refine(isStorable, `a value in tack.buildkite.${key} holds characters that are no text`),
    { error: `tack.buildkite.${key} must be a map of names to values` },
  );

const metaData = (key: string) =>
  texts(key).superRefine((map, context) => {
    const taken = Object.keys(map).find((name) => reserved.some((prefix) => name.startsWith(prefix)));
    if (taken === undefined) return;
    context.addIssue({
      code: 'custom',
      message: `tack.buildkite.${key} may not set “${taken}”; names that begin with ${reserved.join(', ')} are taken`,
    });
  });

const pipelineHint = 'it is the last part of the pipeline’s address, https://buildkite.com/<org>/<pipeline>';
const orgHint = 'it is the first part of the pipeline’s address, https://buildkite.com/<org>/<pipeline>';

// tack's full set of keys is not known, so unknown ones pass; a known one of a wrong type does not.
const schema = z.object(
  {
    pipeline: slug('pipeline', pipelineHint),
    org: optional(slug('org', orgHint)),
    branch: optional(line('branch')),
    commit: optional(line('commit')),
    message: optional(line('message')),
    env: optional(texts('env')),
    meta_data: optional(metaData('meta_data')),
    metadata: optional(metaData('metadata')),
    clean_checkout: optional(z.boolean({ error: 'tack.buildkite.clean_checkout must be true or false' })),
    on_block: optional(
      z.enum(onBlockWords, { error: `tack.buildkite.on_block must be one of ${onBlockWords.join(', ')}` }),
    ),
  },
  { error: 'tack.buildkite must be a map with at least a pipeline, such as “pipeline: my-app”' },
);

/** Validates the value under `tack.buildkite`; `org` is the organisation to use when the file names none. */
export const planBuildkite =
  ({ org: ours }: { org?: string | undefined }): Plan =>
  (options) => {
    const parsed = schema.safeParse(options);
    if (!parsed.success) return { ok: false, reason: parsed.error.issues[0]?.message ?? 'tack.buildkite is not valid' };
    const { org: theirs, meta_data: first, metadata: second, ...rest } = parsed.data;
    const org = theirs ?? ours;
    if (!org) {
      return {
        ok: false,
        reason: 'tack.buildkite.org is missing, and this spindle has no organisation of its own; name yours',
      };
    }
    const meta = first || second ? { ...second, ...first } : undefined;
    return { ok: true, target: present({ org, ...rest, meta_data: meta }) };
  };

/** The keys that count under `tack.buildkite`. */
export const buildkiteKeys: readonly string[] = Object.keys(schema.shape);

const stored = z.object({
  org: z.string().refine(isSlug),
  pipeline: z.string().refine(isSlug),
  branch: z.string().optional(),
  commit: z.string().optional(),
  message: z.string().optional(),
  env: z.record(z.string(), z.string()).optional(),
  meta_data: z.record(z.string(), z.string()).optional(),
  clean_checkout: z.boolean().optional(),
  on_block: z.enum(onBlockWords).optional(),
});

/** Reads a target back from where it was kept, or undefined when it is not one of ours. */
export function parseTarget(value: unknown): BuildkiteTarget | undefined {
  const parsed = stored.safeParse(value);
  return parsed.success ? present(parsed.data) : undefined;
}

type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Leaves out what is undefined, which JSON cannot say. */
function present<T extends Record<string, unknown>>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Present<T>;
}
