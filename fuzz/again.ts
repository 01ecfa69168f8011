import { startPostgres } from '../src/embedded/postgres.ts';
import { feed } from './batch.ts';
import { wordsOf } from './finding.ts';
import { liveTargets } from './live/index.ts';
import { startSpindle } from './live/spindle.ts';
import { pureTargets } from './targets/index.ts';

/** Gives a target one input again; what is wrong, or undefined. A call that hangs here hangs. */
export async function again(name: string, input: Buffer): Promise<string | undefined> {
  const pure = pureTargets.find((each) => each.name === name);
  if (pure) return await wrong(() => feed(pure, input));
  const live = liveTargets.find((each) => each.name === name);
  if (!live) throw new Error(`there is no target ${name}`);
  const postgres = await startPostgres();
  try {
    const spindle = await startSpindle(postgres.url);
    try {
      const told = await wrong(async () => {
        await live.run(spindle, input);
        await live.check(spindle);
      });
      return spindle.death() ?? told;
    } finally {
      await spindle.close();
    }
  } finally {
    await postgres.stop();
  }
}

const wrong = (work: () => Promise<void>): Promise<string | undefined> => work().then(() => undefined, wordsOf);
