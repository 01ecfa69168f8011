import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Generation } from './history.ts';
import { startKnot } from './knot.ts';

type Options = { port: number; capture?: string; now?: boolean; generation: Generation; clockSkew: number };

/** `sim knot`: a simulated knot on a port, fed by HTTP or from a capture file. */
export function knotCommand(): Command {
  return new Command('knot')
    .description('a simulated Go knot: /events, fed by POST /push or from a capture file')
    .option('--port <port>', 'port to listen on; 0 takes a free one', integer, 9001)
    .option('--capture <file>', 'captured frames, one a line, to serve as its history')
    .option('--now', 'count the captured frames as stored just now')
    .addOption(new Option('--generation <A|B>', 'A: knots of 2025; B: of 2026').choices(['A', 'B']).default('A'))
    .option('--clock-skew <ms>', "how far the knot's clock is ahead", integer, 0)
    .action(async ({ port, capture, now, generation, clockSkew }: Options) => {
      const knot = await startKnot({ port, generation, clockSkew, log: (line) => console.log(line) });
      if (capture !== undefined) {
        const added = knot.replay(readFileSync(capture, 'utf8').split('\n'), now ? 'now' : 'captured');
        console.log(`${added} events from ${capture}`);
      }
      console.log(`knot ${knot.host} serves ${knot.url}`);
      console.log(`push: curl -d '${EXAMPLE}' http://127.0.0.1:${knot.port}/push`);
      const stop = (): void => void knot.close();
      process.once('SIGINT', stop).once('SIGTERM', stop);
    });
}

const EXAMPLE = JSON.stringify({
  repo: { did: 'did:plc:alice', name: 'demo' },
  workflows: [{ name: 'ci.yml', raw: 'tack:\n  fake: {}\n' }],
});

function integer(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('a whole number, please');
  return value;
}
