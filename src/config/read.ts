import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import type { Problem } from './error.ts';
import type { Form } from './forms.ts';
import type { Setting } from './setting.ts';
import { settings } from './settings.ts';

/** The environment, as Node gives it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The text of a file; throws when it cannot be read. */
export type ReadFile = (path: string) => string;

/** One setting as it holds now, fit to be printed: no secret is in it. */
export interface Effective {
  readonly name: string;
  /** Absent when nothing is set and nothing is the default. */
  readonly value?: string;
  readonly source: 'environment' | 'file' | 'alias' | 'default' | 'unset';
  /** The variable that it came from: the name itself, its `_FILE` or its alias. */
  readonly from: string;
}

type Settings = typeof settings;
export type Key = keyof Settings;
type Parsed<S extends Setting> = z.output<S['form']['schema']>;
type Maybe<S extends Setting> = S extends { default: string } ? Parsed<S> : Parsed<S> | undefined;

/** The value of each setting. Nothing but a setting without a default can be undefined. */
export type Values = { readonly [K in Key]: Maybe<Settings[K]> };

export interface Reading {
  /** What could be read; all of `Values` when there are no problems. */
  readonly values: Partial<Values>;
  readonly effective: readonly Effective[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  /** A setting that is read again at each call when a file holds it. */
  readonly live: <K extends Key>(key: K, value: NonNullable<Values[K]>) => () => NonNullable<Values[K]>;
}

/** A text that was found for a setting, and how to read it. */
interface Found {
  readonly raw: string;
  readonly source: Effective['source'];
  readonly from: string;
  readonly form: Form<unknown>;
}

/** An empty value counts as none: compose files and shells leave such behind. */
export const given = (env: Environment, name: string): string | undefined => env[name] || undefined;

/** Reads every setting; collects what is wrong instead of stopping at it. */
export function readSettings(env: Environment, readFile: ReadFile): Reading {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  const values: Record<string, unknown> = {};
  const effective = Object.entries<Setting>(settings).map(([key, setting]) => {
    const found = find(setting);
    if (found === undefined) {
      return { name: setting.name, source: 'unset', from: setting.name } as const;
    }
    const parsed = found.form.schema.safeParse(found.raw);
    if (parsed.success) values[key] = parsed.data;
    else
      problems.push({
        name: found.from,
        wrong: wrongWith(setting, found, parsed.error),
        example: exampleOf(setting, found),
      });
    return { name: setting.name, value: show(setting, found, parsed.data), source: found.source, from: found.from };
  });
  return { values: values as Partial<Values>, effective, problems, warnings, live };

  function find(setting: Setting): Found | undefined {
    const [plain, file] = [fromEnvironment(setting), fromFile(setting)];
    if (plain && file) problems.push({ name: plain.from, wrong: `and ${file.from} are both set; keep one of them` });
    const own = plain ?? file;
    const alias = fromAlias(setting);
    if (own && alias && !same(own, alias)) {
      warnings.push(`${own.from} and ${alias.from} are both set and differ; ${own.from} is used`);
    }
    return own ?? alias ?? fromDefault(setting);
  }

  function fromEnvironment({ name, form }: Setting): Found | undefined {
    const raw = given(env, name);
    return raw === undefined ? undefined : { raw, source: 'environment', from: name, form };
  }

  function fromFile(setting: Setting): Found | undefined {
    const from = `${setting.name}_FILE`;
    const path = setting.secret && given(env, from);
    if (!path) return undefined;
    try {
      const raw = withoutNewline(readFile(path));
      if (raw !== '') return { raw, source: 'file', from, form: setting.form };
      problems.push({ name: from, wrong: `names an empty file, ${path}` });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      problems.push({
        name: from,
        wrong: `names a file that cannot be read: ${reason}`,
        example: `${from}=/run/secrets/…`,
      });
    }
    return undefined;
  }

  function fromAlias({ alias, form }: Setting): Found | undefined {
    const raw = alias && given(env, alias.name);
    return !alias || raw === undefined
      ? undefined
      : { raw, source: 'alias', from: alias.name, form: alias.form ?? form };
  }

  /** A file that is just being replaced may be missing or half written: then the last good value stays. */
  function live<K extends Key>(key: K, value: NonNullable<Values[K]>): () => NonNullable<Values[K]> {
    const { name, form }: Setting = settings[key];
    const path = given(env, name) === undefined ? given(env, `${name}_FILE`) : undefined;
    if (path === undefined) return () => value;
    let last = value;
    return () => {
      try {
        const parsed = form.schema.safeParse(withoutNewline(readFile(path)));
        if (parsed.success) last = parsed.data as NonNullable<Values[K]>;
      } catch {
        // The provider says so soon enough if the old value has stopped to work.
      }
      return last;
    };
  }
}

function fromDefault(setting: Setting): Found | undefined {
  if (setting.default === undefined) return undefined;
  return { raw: setting.default, source: 'default', from: setting.name, form: setting.form };
}

function same(one: Found, other: Found): boolean {
  const [a, b] = [one, other].map(({ form, raw }) => form.schema.safeParse(raw));
  return a?.success === true && b?.success === true && isDeepStrictEqual(a.data, b.data);
}

const withoutNewline = (text: string): string => text.replace(/[\r\n]+$/, '');

const exampleOf = (setting: Setting, found?: Found): string =>
  found?.source === 'file' ? setting.example : `${found?.from ?? setting.name}=${setting.example}`;

function wrongWith(setting: Setting, { raw }: Found, error: z.ZodError): string {
  const wrong = error.issues[0]?.message ?? 'is wrong';
  return setting.secret || wrong.includes('"') ? wrong : `${wrong}; it is ${JSON.stringify(raw.slice(0, 100))}`;
}

/** What was read rather than what was written, where that is one word: a lower-cased host, `true` for tack's `0`. */
function show(setting: Setting, { raw }: Found, value: unknown): string {
  if (setting.secret) return setting.hide?.(raw) ?? '••••';
  return typeof value === 'string' || typeof value === 'boolean' ? String(value) : raw.trim();
}
