import type { Build, Job } from '../../../sim/buildkite/index.ts';
import { drawn } from '../dice.ts';
import { nameOf } from './fates.ts';

const GREY = '\x1b[90m';
const GREEN = '\x1b[32m';
const RED = '\x1b[31m';
const BOLD = '\x1b[1m';
const OFF = '\x1b[0m';

/** The ways in which a secret stands in a log; each log has all of them. */
const leaks: readonly ((secret: string) => string)[] = [
  (secret) => `${secret} stands at the start`,
  (secret) => `at the end stands ${secret}`,
  (secret) => `${BOLD}export${OFF} TOKEN="${secret}" && deploy`,
  (secret) =>
    `a colour begins in ${secret.slice(0, secret.length >> 1)}${RED}${secret.slice(secret.length >> 1)}${OFF} here`,
  (secret) => secret,
];

/** A line of the agent: its time, the text, and the end that a command's output has under a pseudo-terminal. */
const line = (at: number, text: string): string => `\x1b_bk;t=${at}\x07${text}\r\r\n`;

/** What the command of a job writes. The same for the same seed, build and job, and as long as it wants to be. */
function output(seed: number, name: string, secrets: readonly string[]): string[] {
  const draw = (...about: (string | number)[]): number => drawn(seed, name, ...about);
  const lines = Array.from({ length: 20 + Math.floor(draw('length') ** 2 * 160) }, (_, n) => {
    const kind = n % 7;
    if (n % 29 === 28) return `--- Part ${n}`;
    if (kind === 3) return `  ${GREEN}✓${OFF} test ${n} of ${name} ${GREY}(${n * 3} ms)${OFF}`;
    if (kind === 5) return `\x1b[Kfetching 10%\rfetching 60%\rfetching 100%, done.`;
    return `cc -O2 -c src/unit${n}.c -o build/unit${n}.o`;
  });
  for (const [n, secret] of secrets.entries()) {
    for (const [way, leak] of leaks.entries()) {
      lines.splice(Math.floor(draw('leak', n, way) * (lines.length + 1)), 0, leak(secret));
    }
  }
  return lines;
}

/**
 * Writes logs whenever they are asked for, so that none has to be kept: they follow from the seed, and grow over `paceMs`
 * while their job runs. Each of them holds each of the secrets, in several ways.
 */
export const logWriter =
  (seed: number, paceMs: number, secrets: readonly string[]) =>
  (build: Readonly<Build>, job: Readonly<Job>, now: number): Buffer => {
    const { startedAt, finishedAt } = job;
    if (startedAt === null || job.type !== 'script') return Buffer.alloc(0);
    const lines = output(seed, `${nameOf(build)} ${job.key} ${job.retriesCount}`, secrets);
    const text = [
      line(startedAt, '~~~ Running commands'),
      line(startedAt, `${GREY}$${OFF} ${job.command}`),
      ...lines.flatMap((content, n) => {
        const due = startedAt + Math.floor(((n + 1) * paceMs) / lines.length);
        const at = finishedAt === null ? due : Math.min(due, finishedAt);
        return at <= now ? [line(at, content)] : [];
      }),
    ];
    if (finishedAt !== null && job.state === 'failed') {
      text.push(line(finishedAt, '^^^ +++'));
      text.push(line(finishedAt, `${RED}🚨 Error: The command exited with status ${job.exitStatus}${OFF}`));
    }
    return Buffer.from(text.join(''));
  };
