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

function parseRule(line: string): AllowRule | string {
  const [repo, target, ...rest] = line.split(arrow);
  const right = repo !== undefined && target !== undefined && rest.length === 0;
  if (right && twoParts.test(repo) && twoParts.test(target)) return { repo, target };
  return `must be rules "did-or-handle/repo -> org/pipeline", but one of them is "${line}"`;
}
