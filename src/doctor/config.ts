import { ConfigError, type Environment, loadConfig } from '../config/index.ts';
import type { Finding } from './check.ts';
import { ok, warn } from './check.ts';

/** What is wrong with the configuration, or worth a word. */
export function configFindings(env: Environment): Finding[] {
  const name = 'settings';
  try {
    const { warnings, effective } = loadConfig(env, undefined, 'up');
    const set = effective.filter(({ source }) => source !== 'default' && source !== 'unset').length;
    const advice = '`whorl config` shows what holds and where it comes from';
    return [
      { name, ...ok(`${set} are set, and all can be read`) },
      ...warnings.map((found) => ({ name, ...warn(found, advice) })),
    ];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ name: variable, wrong, example }) => ({
      name,
      state: 'fail',
      found: `${variable} ${wrong}`,
      ...(example === undefined ? {} : { advice: `for example ${example}` }),
    }));
  }
}
