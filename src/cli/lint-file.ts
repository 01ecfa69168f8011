import { type Document, isMap, isScalar, type Node } from 'yaml';
import { nearest } from '../config/nearest.ts';
import { type Planner, planJob } from '../pipeline/plan.ts';
import { readWhorl, whorlKeys } from '../pipeline/whorl-keys.ts';
import { readYaml, valueOf } from '../pipeline/yaml.ts';
import { targetKeys } from '../providers/planners.ts';
import { whenProblems } from './lint-when.ts';

/** Something about a workflow file that its author should know. With an error, nothing would run. */
export interface Finding {
  level: 'error' | 'warning';
  message: string;
  /** Of what it is about, counted from 1; absent when it is about the whole. */
  line?: number;
}

/** What Whorl would do with a workflow file. */
export interface Linted {
  name: string;
  /** Null when the file does not get so far. */
  provider: string | null;
  /** As the provider's planner returned it; undefined when it refused. */
  target?: unknown;
  supersede: boolean;
  /** As written; the knot decides by it. Undefined: there is none. */
  when?: unknown;
  findings: Finding[];
}

/** Plans a file as dispatch does, and looks for what was probably not meant. Pure. */
export function lintFile(name: string, raw: string, planners: Record<string, Planner>): Linted {
  const planned = planJob(name, raw, planners);
  const linted: Linted = {
    name,
    provider: planned.provider,
    supersede: planned.refusal === undefined && planned.supersede === true,
    findings: [],
    ...(planned.refusal === undefined ? { target: planned.target } : {}),
  };
  const read = raw.length > largest ? undefined : readYaml(raw);
  const file = read && 'document' in read ? readFile(raw, read.document) : undefined;
  if (planned.refusal !== undefined) linted.findings.push(refusalOf(planned.refusal, planned.provider, file, planners));
  if (!file) return linted;
  if (Object.hasOwn(file.value, 'when')) linted.when = file.value['when'];
  const own = readWhorl(file.value);
  // the plan stops at the first mistake
  if (!own.ok && !(planned.refusal ?? '').includes(own.reason))
    linted.findings.push(refusalOf(`${name}: ${own.reason}`, planned.provider, file, planners));
  linted.findings.push(...unusedKeys(file), ...aboutForge(file));
  return linted;
}

/** Above this the plan refuses it, and nothing more is to be said. */
const largest = 256 * 1024;

interface File {
  value: Record<string, unknown>;
  /** The line of a key, or of the deepest part of its path that is there. */
  lineOf(...path: string[]): number | undefined;
}

function readFile(raw: string, document: Document): File | undefined {
  const read = valueOf(document);
  if (!('value' in read) || !isMap(document.contents)) return undefined;
  const { contents } = document;
  return {
    value: read.value as Record<string, unknown>,
    lineOf(...path) {
      let at: number | undefined;
      let node: Node | null = contents;
      for (const key of path) {
        const pair = isMap(node)
          ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
          : undefined;
        if (!pair || !isScalar(pair.key)) break;
        at = pair.key.range?.[0] ?? at;
        node = pair.value as Node | null;
      }
      return at === undefined ? undefined : raw.slice(0, at).split('\n').length;
    },
  };
}

/** The sentence that the author would be told by the status, with its place and the name that was perhaps meant. */
function refusalOf(refusal: string, provider: string | null, file: File | undefined, planners: object): Finding {
  const told = /at line (\d+), column \d+$/.exec(refusal)?.[1];
  if (told !== undefined) return { level: 'error', message: refusal, line: Number(told) };
  const unknown = provider !== null && !Object.hasOwn(planners, provider) && !/\bwhorl[.:]/.test(refusal);
  const path = /\b(?:tack|whorl)(?:\.[\w-]+)+/.exec(refusal)?.[0].split('.') ?? pathOf(refusal, provider);
  const hint = unknown ? didYouMean(provider, Object.keys(planners)) : whorlHint(refusal);
  const line = file?.lineOf(...path);
  return {
    level: 'error',
    message: `${refusal}${hint === '' || refusal.endsWith('.') ? '' : '.'}${hint}`,
    ...(line === undefined ? {} : { line }),
  };
}

function pathOf(refusal: string, provider: string | null): string[] {
  if (!refusal.includes('"whorl:"')) return provider === null ? ['tack'] : ['tack', provider];
  return ['whorl', ...(unknownWhorlKey(refusal) ?? [])];
}

const unknownWhorlKey = (refusal: string): string[] | undefined =>
  /"whorl:" has no key “([^”]*)”/.exec(refusal)?.slice(1, 2);

const whorlHint = (refusal: string): string =>
  (unknownWhorlKey(refusal) ?? []).map((key) => didYouMean(key, Object.keys(whorlKeys))).join('');

const didYouMean = (name: string, known: readonly string[]): string => {
  const meant = nearest(name, known);
  return meant === undefined ? '' : ` Did you mean ${meant}?`;
};

/** What is written in the file and changes nothing. */
function* unusedKeys({ value, lineOf }: File): Generator<Finding> {
  const tack = value['tack'];
  if (typeof tack !== 'object' || tack === null) return;
  const [provider, ...others] = Object.keys(tack);
  if (provider === undefined) return;
  for (const other of others) {
    const message = `tack.${other} counts for nothing: the first key under tack, ${provider}, says which CI runs it`;
    yield at({ level: 'warning', message }, lineOf('tack', other));
  }
  const known = Object.hasOwn(targetKeys, provider) ? targetKeys[provider] : undefined;
  const options = (tack as Record<string, unknown>)[provider];
  if (!known || typeof options !== 'object' || options === null || Array.isArray(options)) return;
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const message = `tack.${provider}.${key} is not known, and changes nothing.${didYouMean(key, known)}`;
    yield at({ level: 'warning', message }, lineOf('tack', provider, key));
  }
}

/** What the knot reads: it sends a file on only if that fits. */
function* aboutForge({ value, lineOf }: File): Generator<Finding> {
  const { engine } = value;
  if (typeof engine !== 'string' || engine === '') {
    const message = 'it has no engine: knots do not send on such a file; write “engine: tack”, any word will do';
    yield at({ level: 'warning', message }, lineOf('engine'));
  }
  for (const message of whenProblems(value['when'])) yield at({ level: 'warning', message }, lineOf('when'));
  const misspelt = Object.keys(value).find((key) => key !== 'whorl' && nearest(key, ['whorl']) === 'whorl');
  if (misspelt !== undefined) {
    const message = `${misspelt} is not known, and changes nothing. Did you mean whorl?`;
    yield at({ level: 'warning', message }, lineOf(misspelt));
  }
}

const at = (finding: Finding, line: number | undefined): Finding =>
  line === undefined ? finding : { ...finding, line };
