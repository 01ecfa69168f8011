import { nearest } from './nearest.ts';
import { type Environment, given } from './read.ts';
import type { Setting } from './setting.ts';
import { settings } from './settings.ts';
import { adviceAboutTack } from './tack.ts';

const all: readonly Setting[] = Object.values(settings);
const names = all.map(({ name }) => name);
const files = all.filter(({ secret }) => secret).map(({ name }) => `${name}_FILE`);
const aliases = all.flatMap(({ alias }) => (alias ? [alias.name] : []));
const known: readonly string[] = [...names, ...files, ...aliases];

/** A sentence for each variable of ours or of tack's that is set and does nothing. */
export function warnOfUnknown(env: Environment): string[] {
  return Object.keys(env)
    .filter((name) => /^(WHORL|TACK)_/.test(name) && given(env, name) !== undefined && !known.includes(name))
    .map((name) => `${name} ${adviceAboutTack(name) ?? adviceAboutFile(name) ?? guess(name)}`);
}

function adviceAboutFile(name: string): string | undefined {
  const plain = name.replace(/_FILE$/, '');
  if (plain === name || !known.includes(plain)) return undefined;
  return aliases.some((alias) => alias === plain)
    ? `is not used: tack's names have no _FILE. Use ${plain.replace('TACK_', 'WHORL_')}_FILE`
    : `is not used: only secrets can be given as a file. Set ${plain}`;
}

function guess(name: string): string {
  const near = nearest(name, known);
  return near
    ? `is not a name that Whorl knows; did you mean ${near}?`
    : 'is not a name that Whorl knows, and is not used';
}
