import fc from 'fast-check';
import { type Finding, signatureOf, wordsOf } from './finding.ts';
import { prototypes } from './prototypes.ts';
import { seedOf } from './random.ts';
import { Broken, type Target } from './target.ts';

/** One call may take so much time of a processor, ms. */
export const slowMs = 1_000;
/** Inputs of one call to fast-check, which keeps them all. */
const batchRuns = 250;
/** A batch takes at most so long, ms: a finding that is slow would else be made smaller for hours. */
const shrinkMs = 20_000;

export interface Watch {
  /** Told of each input before it is fed. */
  begin(input: Buffer): void;
  end(): void;
}

export interface Part {
  target: Target;
  seed: number;
  /** Which part of the target's runs: each has inputs of its own. */
  part: number;
  runs: number;
  watch?: Watch;
  /** Signatures that are known already: such a finding counts, and is not told again. */
  known?: Set<string>;
}

export interface PartResult {
  runs: number;
  /** New ones, with an input that was made as small as could be. */
  findings: Finding[];
}

/** Feeds a target once; throws what is wrong. `limit`: how long one call may take, ms. */
export async function feed(target: Target, input: Buffer, limit = slowMs): Promise<void> {
  const took = await timed(target, input);
  prototypes.check();
  // what is compiled or collected in between counts too, and hardly twice
  if (took > limit && (await timed(target, input)) > limit)
    throw new Broken(`slow: one call took ${Math.round(took)} ms`);
}

/** What one call costs this thread, in ms: on a busy machine the clock on the wall says something else. */
async function timed(target: Target, input: Buffer): Promise<number> {
  const before = process.threadCpuUsage();
  const pending = target.run(input);
  if (pending) await pending;
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

/** Runs a part of a target's inputs. The same seed and part give the same inputs. */
export async function runPart({ target, seed, part, runs, watch, known = new Set() }: Part): Promise<PartResult> {
  const findings: Finding[] = [];
  let done = 0;
  for (let batch = 0; done < runs; batch++) {
    let failure: { error: unknown; input: Buffer } | undefined;
    const property = fc.asyncProperty(target.inputs, async (input) => {
      watch?.begin(input);
      try {
        await feed(target, input);
      } catch (error) {
        if (known.has(signatureOf(error))) return;
        failure = { error, input };
        throw error;
      } finally {
        watch?.end();
      }
    });
    const numRuns = Math.min(batchRuns, runs - done);
    const details = await fc.check(property, {
      seed: seedOf(seed, target.name, part, batch),
      numRuns,
      interruptAfterTimeLimit: shrinkMs,
    });
    done += Math.max(1, details.numRuns);
    if (!details.failed || !failure) continue;
    const smallest = details.counterexample?.[0] ?? failure.input;
    const { error, input } = await explain(target, smallest, failure);
    const signature = signatureOf(error);
    if (known.has(signature)) continue;
    known.add(signature);
    findings.push({ target: target.name, seed, what: wordsOf(error), signature, input });
  }
  return { runs: done, findings };
}

/** What the smallest input does; what failed last if that one does nothing any more. */
async function explain(target: Target, input: Buffer, last: { error: unknown; input: Buffer }) {
  try {
    await feed(target, input);
    return last;
  } catch (error) {
    return { error, input };
  }
}
