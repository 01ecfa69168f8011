import { z } from 'zod';
import type { AllowRule } from '../allow.ts';
import type { Form } from './forms.ts';

const arrow = /\s*(?:=>|->|→)\s*/;
/** A comma inside braces belongs to the glob. */
const separator = /[\n,](?![^{}\n]*\})/;
const twoParts = /^[^\s/]+\/[^\s/]+$/;

export const allowRules: Form<AllowRule[]> = {
  label: 'rules, one per line or with commas between',
  schema: z.string().transform((text, context) => {
    const lines = text.split(separator).map((line) => line.trim());
    const rules = lines.filter((line) => line !== '').map(parseRule);
    const bad = rules.find((rule) => typeof rule === 'string');
    const wrong = bad ?? (rules.length === 0 ? 'must hold at least one rule' : undefined);
    if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong });
    return rules.filter((rule) => typeof rule !== 'string');
  }),
};

/** Braces, brackets, `?` and a few stars. */
const longestGlob = 300;

/**
 * What strangers ask for is matched against these, and a glob is a regular expression in the end: with each further star
 * a long name takes longer, beyond all bounds with the fourth, and with a repeated group at once.
 */
const isQuick = (glob: string): boolean =>
  glob.length <= longestGlob &&
  !/[\\()]/.test(glob) &&
  starsIn(glob) <= 3 &&
  glob.split('/').every((part) => starsIn(part) <= 2);

const starsIn = (glob: string): number => glob.match(/\*+/g)?.length ?? 0;

const tooMuch =
  'must be rules with at most two stars in a name and three on a side of the arrow, no backslash or parenthesis, and ' +
  `at most ${longestGlob} characters on a side, but one of them is `;

/** Handles are the same in large letters. */
function withHandle(repo: string): string {
  const [owner = '', name = ''] = repo.split('/');
  return owner.includes('did:') ? repo : `${owner.toLowerCase()}/${name}`;
}

function parseRule(line: string): AllowRule | string {
  const [repo, target, ...rest] = line.split(arrow);
  const right = repo !== undefined && target !== undefined && rest.length === 0;
  if (right && twoParts.test(repo) && twoParts.test(target)) {
    return [repo, target].every(isQuick) ? { repo: withHandle(repo), target } : `${tooMuch}"${line.slice(0, 400)}"`;
  }
  return `must be rules "did-or-handle/repo -> org/pipeline", but one of them is "${line}"`;
}
