import { Command } from 'commander';
import { inject } from 'vitest';
import { run } from '../../src/cli/shell.ts';
import { whyCommand } from '../../src/cli/why.ts';
import type { Wait } from '../../src/pipeline/wait.ts';
import type { Spindle } from './spindle.ts';
import { until } from './until.ts';

/** What `whorl why --json` prints of one pipeline, as far as tests look at it. */
export interface WhyAnswer {
  pipeline: string;
  standing: string;
  cause: string;
  sentence: string;
  jobs: { name: string; status: string | null; error: string | null }[];
  waits: (Omit<Wait, 'since' | 'next' | 'limit'> & {
    since: string | null;
    next: { at: string; what: string } | null;
    limit: { at: string; what: string } | null;
  })[];
  steps: { at: string; tookMs: number | null; job: string | null; attempt: number | null; what: string }[];
  temporal: { asked: boolean; answers: boolean | null; workflow: string | null };
}

export interface Asked {
  code: number;
  out: string;
  err: string;
}

/** Runs `whorl why` against a spindle, as from another host with its configuration. */
export async function askWhy(whorl: Spindle, words: string[], env: Record<string, string> = {}): Promise<Asked> {
  const [out, err]: string[][] = [[], []];
  const shell = {
    env: {
      WHORL_DATABASE_URL: whorl.databaseUrl,
      WHORL_TASK_QUEUE: whorl.config.taskQueue,
      TEMPORAL_ADDRESS: inject('temporalAddress'),
      TEMPORAL_NAMESPACE: inject('temporalNamespace'),
      ...env,
    },
    print: (line: string) => void out?.push(line),
    complain: (line: string) => void err?.push(line),
  };
  const code = await run(new Command('whorl').addCommand(whyCommand(shell)), ['why', ...words], shell);
  return { code, out: (out ?? []).join('\n'), err: (err ?? []).join('\n') };
}

/** The same as data, of one pipeline. */
export async function whyOf(
  whorl: Spindle,
  words: string[],
  env: Record<string, string> = {},
): Promise<Asked & { why: WhyAnswer }> {
  const asked = await askWhy(whorl, [...words, '--json'], env);
  const { answers } = JSON.parse(asked.out) as { answers: WhyAnswer[] };
  const [why] = answers;
  if (!why || answers.length !== 1) throw new Error(`there are ${answers.length} answers: ${asked.out}`);
  return { ...asked, why };
}

/** Asks until the answer has this cause; fails with the last one. */
export async function whyBecomes(
  whorl: Spindle,
  words: string[],
  cause: string,
  env: Record<string, string> = {},
): Promise<Asked & { why: WhyAnswer }> {
  let last: Asked | undefined;
  return until(`the cause ${cause}`, async () => {
    const asked = await whyOf(whorl, words, env);
    last = asked;
    return asked.why.cause === cause ? asked : undefined;
  }).catch((error: unknown) => {
    throw new Error(`not ${cause} but: ${last?.err ?? ''} ${last?.out ?? ''}`, { cause: error });
  });
}
