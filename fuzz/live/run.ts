import fc from 'fast-check';
import { type Finding, signatureOf, wordsOf } from '../finding.ts';
import { seedOf } from '../random.ts';
import { Broken } from '../target.ts';
import type { LiveSpindle } from './spindle.ts';
import type { LiveTarget } from './target.ts';

/** After so many inputs it is seen whether what is right is still taken. */
const batchRuns = 40;

export interface LivePart {
  spindle: LiveSpindle;
  target: LiveTarget;
  seed: number;
  part: number;
  runs: number;
  known: Set<string>;
  onFinding(finding: Finding): void | Promise<void>;
  onRuns(count: number): void;
  signal?: AbortSignal;
}

/** Runs a part of a live target's inputs. The same seed and part give the same inputs. */
export async function runLivePart(options: LivePart): Promise<void> {
  const { spindle, target, seed, part, runs, signal } = options;
  for (let done = 0, batch = 0; done < runs && !signal?.aborted; batch++) {
    const numRuns = Math.min(batchRuns, runs - done);
    const inputs = fc.sample(target.inputs, { seed: seedOf(seed, target.name, part, batch), numRuns });
    await runBatch(options, inputs);
    done += numRuns;
    options.onRuns(numRuns);
  }
  await spindle.revive();
}

async function runBatch(options: LivePart, inputs: readonly Buffer[]): Promise<void> {
  const { spindle, target } = options;
  const fed: Buffer[] = [];
  for (const input of inputs) {
    fed.push(input);
    const error = await attempt(() => target.run(spindle, input));
    if (error === undefined && spindle.death() === undefined) continue;
    if (spindle.death() === undefined) await report(options, error, input);
    else break;
  }
  const wrong = await wrongNow(options);
  if (wrong === undefined) return;
  await blame(options, wrong, fed);
}

const attempt = (work: () => Promise<void>): Promise<unknown> =>
  work().then(
    () => undefined,
    (error: unknown) => error ?? 'an error without one',
  );

/** What is wrong with the spindle; undefined when it takes what is right. */
async function wrongNow({ spindle, target }: LivePart): Promise<unknown> {
  const error = spindle.death() === undefined ? await attempt(() => target.check(spindle)) : undefined;
  const death = spindle.death();
  return death === undefined ? error : new Broken(death);
}

/** Finds the input that did it: each is given again, alone. All of them when it takes several. */
async function blame(options: LivePart, wrong: unknown, fed: readonly Buffer[]): Promise<void> {
  const { spindle, target } = options;
  for (const input of fed.toReversed()) {
    await spindle.revive();
    await attempt(() => target.run(spindle, input));
    const again = await wrongNow(options);
    if (again === undefined) continue;
    await spindle.revive();
    return report(options, again, input);
  }
  await spindle.revive();
  await report(options, wrong, Buffer.concat(fed.flatMap((input) => [input, Buffer.from('\n')])));
}

async function report({ target, seed, known, onFinding }: LivePart, error: unknown, input: Buffer): Promise<void> {
  const signature = `${target.name} ${signatureOf(error)}`;
  if (known.has(signature)) return;
  known.add(signature);
  await onFinding({ target: target.name, seed, what: wordsOf(error), signature, input });
}
