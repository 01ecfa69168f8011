import fc from 'fast-check';
import { allows } from '../../src/allow.ts';
import { allowRules } from '../../src/config/allow.ts';
import { ProviderError } from '../../src/providers/errors.ts';
import { checkAllowed } from '../../src/providers/buildkite/allow.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { texts } from '../inputs/hostile.ts';
import { expect, type Target } from '../target.ts';

const rules = [
  'did:plc:hgnnks5sjbyfk5sxbc2v77gh/* -> acme/app',
  'alice.test/demo => acme/{app,lint}\n*/* → acme/[a-z]*',
  '**/x -> a/b, !*/x -> !a/b',
  '*/+(a|b) -> acme/@(x|y)',
];
const asked = [
  'did:plc:hgnnks5sjbyfk5sxbc2v77gh',
  'whorl-demo',
  'acme',
  'app',
  ...texts,
  'a'.repeat(256),
  '-'.repeat(256),
];

const never = new AbortController().signal;

/** The rules of an operator, and after an empty line each what somebody asks for. */
export const allowTarget: Target = {
  name: 'allow-list',
  about: 'rules of the allow-list: globs, and what strangers ask for',
  weight: 4,
  inputs: fc
    .tuple(
      changedBytes(
        rules.map((each) => Buffer.from(each)),
        { words: ['*', '**', '?', '[', ']', '{', '}', '(', ')', '!', '+(', '\\', ' -> ', '/'], most: 500 },
      ),
      fc.array(
        fc.oneof(
          { weight: 3, arbitrary: fc.constantFrom(...asked) },
          { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
        ),
        { minLength: 4, maxLength: 4 },
      ),
    )
    .map(([given, [did = '', name = '', org = '', pipeline = '']]) =>
      Buffer.from([given.toString(), did, name, org, pipeline].join('\0\0')),
    ),
  async run(input) {
    const [text = '', did = '', name = '', org = '', pipeline = ''] = input.toString('utf8').split('\0\0');
    const parsed = allowRules.schema.safeParse(text);
    if (!parsed.success) return;
    const given = parsed.data;
    const may = allows(given, [`${did}/${name}`], `${org}/${pipeline}`);
    // an order that the operator did not write changes nothing
    expect(
      allows(given.toReversed(), [`${did}/${name}`], `${org}/${pipeline}`) === may,
      () => 'the order of rules counts',
    );
    try {
      await checkAllowed({ rules: given }, { did, name }, { org, pipeline }, never);
      expect(may, () => 'a target is allowed that no rule allows');
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      expect(!may && error.failure === 'Forbidden', () => 'a target is refused that a rule allows');
    }
  },
};
