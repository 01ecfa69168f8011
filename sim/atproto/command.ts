import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { startJetstream } from './jetstream.ts';
import { createNetwork } from './network.ts';
import { startPds } from './pds.ts';
import { startPlc } from './plc.ts';

interface Flags {
  readonly port: number;
  readonly plcPort?: number;
  readonly jetstreamPort?: number;
  readonly jetstreamVersion: '1' | '2';
  readonly account?: string[];
  readonly capture?: string;
}

/** `sim atproto`: a network of one's own, with a PDS, a directory and a jetstream, until Ctrl-C. */
export function atprotoCommand(): Command {
  return new Command('atproto')
    .description('an AT Protocol network: a PDS that anybody may write to, the directory of its DIDs, and a jetstream')
    .option('-p, --port <number>', 'port of the PDS (0: any free one)', wholeNumber, 9002)
    .option('--plc-port <number>', 'port of the directory (default: the one after the PDS)', wholeNumber)
    .option('--jetstream-port <number>', 'port of the jetstream (default: the second after the PDS)', wholeNumber)
    .addOption(
      new Option('--jetstream-version <version>', '2: frames have a cursor too').choices(['1', '2']).default('2'),
    )
    .option('--account <handle...>', 'accounts that exist from the start')
    .option('--capture <file>', 'captured jetstream frames, one a line, whose writes are done at the start')
    .action(run);
}

async function run({ port, plcPort, jetstreamPort, jetstreamVersion, account = [], capture }: Flags): Promise<void> {
  const log = (name: string) => (line: string) => say(`${name.padEnd(9)}  ${line}`);
  const network = createNetwork();
  if (capture !== undefined) network.replay(readFileSync(capture, 'utf8').split('\n'));
  for (const handle of account) network.account({ handle });
  const after = (given: number | undefined, n: number): number => given ?? (port === 0 ? 0 : port + n);

  const pds = await startPds(network, { port, log: log('pds') });
  const plc = await startPlc(network, { port: after(plcPort, 1), log: log('plc') });
  const version = jetstreamVersion === '1' ? 1 : 2;
  const jetstream = await startJetstream(network, { port: after(jetstreamPort, 2), version, log: log('jetstream') });
  say(`pds        ${pds.url}`);
  say(`plc        ${plc.url}`);
  say(`jetstream  ${jetstream.url}`);
  for (const { did, handle } of network.accounts()) say(`account    ${did}  ${handle}`);
  network.listen((event) => {
    const what = event.kind === 'commit' ? event.commit : undefined;
    const about = what ? `${what.operation} ${what.collection}/${what.rkey}` : event.kind;
    say(`${'network'.padEnd(9)}  ${event.did}  ${about}`);
  });
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  await Promise.all([pds.close(), plc.close(), jetstream.close()]);
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
