import fc from 'fast-check';
import { ConfigError, type Environment, loadConfig, loadToolConfig, type Role } from '../../src/config/index.ts';
import { settings } from '../../src/config/settings.ts';
import type { Setting } from '../../src/config/setting.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { texts } from '../inputs/hostile.ts';
import { expect, type Target } from '../target.ts';

const all: readonly Setting[] = Object.values(settings);
const names = [
  ...all.map(({ name }) => name),
  ...all.flatMap(({ name, secret }) => (secret ? [`${name}_FILE`] : [])),
  ...all.flatMap(({ alias }) => (alias ? [alias.name] : [])),
  'TEMPORAL_ADDRESS',
  'TEMPORAL_CONFIG_FILE',
  'TEMPORAL_API_KEY',
  'TACK_DB_PATH',
  'TACK_TEKTON_X',
  'WHORL_HOSTNAM',
  'WHORL_',
  'WHORL__FILE',
  '__proto__',
  'constructor',
  `WHORL_${'X_'.repeat(300)}`,
];
const values = [
  ...all.map(({ example }) => example),
  ...all.flatMap((each) => each.default ?? []),
  ...texts,
  'acme/a -> b/c',
];

/** Variables as one piece of bytes: `NAME=value`, with a NUL behind each, as systems keep them. */
const environmentOf = (variables: readonly (readonly [string, string])[]): Buffer =>
  Buffer.from(variables.map(([name, value]) => `${name}=${value}`).join('\0'));

const right = all.map(({ name, example }) => [name, example] as const);
const variable = fc
  .tuple(fc.constantFrom(...names), fc.constantFrom(...values))
  .map(([name, value]) => [name, value] as const);

export const environmentTarget: Target = {
  name: 'environment',
  about: 'variables of the environment: a configuration, or all that is wrong',
  weight: 3,
  inputs: fc.oneof(
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.subarray(right, { minLength: 0 }), fc.array(variable, { maxLength: 6 }))
        .map(([kept, more]) => environmentOf([...kept, ...more])),
    },
    {
      weight: 2,
      arbitrary: changedBytes([environmentOf(right), environmentOf(right.slice(0, 2))], {
        words: [
          ...names.slice(0, 40),
          ...values.slice(0, 80),
          '=',
          '\0',
          ',',
          ':',
          '//',
          '@',
          ' -> ',
          '{',
          '}',
          '*',
          '(',
          '9',
        ],
        most: 16_384,
      }),
    },
  ),
  run(input) {
    const text = input.toString('utf8');
    const env: Environment = Object.fromEntries(
      text.split('\0').map((each): [string, string] => {
        const at = each.indexOf('=', 1);
        return at < 0 ? [each, ''] : [each.slice(0, at), each.slice(at + 1)];
      }),
    );
    for (const role of ['up', 'ingest', undefined] as const) judge(env, role);
  },
};

const readFile = (path: string): string => {
  if (path.includes('secret')) return 'kept-in-a-file\n';
  throw new Error(`ENOENT: ${path.slice(0, 100)}`);
};

function judge(env: Environment, role: Role | undefined): void {
  const load = (): ReturnType<typeof loadToolConfig> =>
    role === undefined ? loadToolConfig(env, readFile) : loadConfig(env, readFile, role);
  let loaded: ReturnType<typeof loadToolConfig>;
  try {
    loaded = load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.problems.length > 0 && error.message !== '', () => 'nothing is wrong, and it is an error');
    return;
  }
  const { config, effective } = loaded;
  expect(Object.isFrozen(config) && Object.isFrozen(config.durations), () => 'a configuration that can be changed');
  expect(config.listen.port >= 0 && config.listen.port <= 65_535, () => `the port ${config.listen.port}`);
  expect(
    Object.values(config.durations)
      .flat()
      .every((ms) => ms >= 0 && ms < 2 ** 31),
    () => 'a time that no timer can wait',
  );
  expect(effective.length === all.length, () => `${effective.length} settings of ${all.length}`);
  const token = config.buildkite?.token();
  // one that stands in the text of another setting is shown there
  const twice = Object.values(env).filter((value) => token !== undefined && value?.includes(token)).length > 1;
  if (token === undefined || token.length < 12 || twice) return;
  for (const { name, value } of effective) {
    const secret = all.find((each) => each.name === name)?.secret;
    expect(!secret || !value?.includes(token), () => `${name} shows the token`);
  }
  expect(config.logs.secrets().includes(token), () => 'a token that logs would show');
}
