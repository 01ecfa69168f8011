import { Command } from 'commander';
import { doctorCommand } from '../../src/cli/doctor.ts';
import { run } from '../../src/cli/index.ts';
import type { Spindle } from './spindle.ts';
import { secret } from './spindle.ts';
import { inject } from 'vitest';

export interface Report {
  ok: boolean;
  checks: {
    group: string;
    name: string;
    state: 'ok' | 'warn' | 'fail' | 'skipped';
    found: string;
    advice: string | null;
  }[];
}

export interface Told {
  code: number;
  out: string;
  err: string;
}

/** Runs `whorl doctor` with its own command line, in this process. */
export async function doctor(env: NodeJS.ProcessEnv, args: readonly string[] = []): Promise<Told> {
  const out: string[] = [];
  const err: string[] = [];
  const shell = { env, print: (line: string) => void out.push(line), complain: (line: string) => void err.push(line) };
  const program = new Command('whorl').addCommand(doctorCommand(shell));
  const code = await run(program, ['doctor', ...args], shell);
  return { code, out: out.join('\n'), err: err.join('\n') };
}

/** The same as data. */
export async function examined(
  env: NodeJS.ProcessEnv,
  args: readonly string[] = [],
): Promise<Told & { report: Report }> {
  const told = await doctor(env, [...args, '--json']);
  return { ...told, report: JSON.parse(told.out) as Report };
}

/** `group: name` of everything that is not as it should be. */
export const wrong = ({ checks }: Report): string[] =>
  checks.filter(({ state }) => state === 'warn' || state === 'fail').map(({ group, name }) => `${group}: ${name}`);

/** The environment that a spindle of the tests was started with, as far as a doctor wants it. */
export const environmentOf = ({ config, databaseUrl, ci }: Spindle): NodeJS.ProcessEnv => ({
  WHORL_HOSTNAME: config.hostname,
  WHORL_OWNER_DID: config.owner,
  WHORL_DEV: 'true',
  WHORL_JETSTREAM_URL: config.network.jetstream.join(',') || 'off',
  WHORL_PLC_URL: config.network.plcUrl,
  WHORL_DATABASE_URL: databaseUrl,
  WHORL_TASK_QUEUE: config.taskQueue,
  WHORL_BUILDKITE_TOKEN: ci.token,
  WHORL_BUILDKITE_ORG: 'acme',
  WHORL_BUILDKITE_ALLOW: '*/* -> acme/*',
  WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
  WHORL_BUILDKITE_WEBHOOK_MODE: 'signature',
  WHORL_BUILDKITE_API_URL: ci.apiUrl,
  TEMPORAL_ADDRESS: inject('temporalAddress'),
  TEMPORAL_NAMESPACE: inject('temporalNamespace'),
});

/** What was found under `group: name`, at its worst. */
export function finding({ checks }: Report, called: string): Report['checks'][number] {
  const found = checks.filter(({ group, name, state }) => `${group}: ${name}` === called && state !== 'ok');
  const [worst] = found;
  if (!worst) throw new Error(`${called} is not what was found`);
  return worst;
}
