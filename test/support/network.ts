import { onTestFinished } from 'vitest';
import {
  type Account,
  createNetwork,
  type JetstreamOptions,
  type JetstreamSim,
  type Network,
  type NetworkOptions,
  type PdsSim,
  type PlcSim,
  startJetstream,
  startPds,
  startPlc,
} from '../../sim/atproto/index.ts';

export interface TestNetworkOptions extends NetworkOptions {
  jetstream?: JetstreamOptions;
  /** How many jetstream hosts; default 1. */
  jetstreams?: number;
  /** Ends by `close` and not with the test. */
  shared?: boolean;
}

export interface TestNetwork {
  /** The truth: write here. */
  network: Network;
  pds: PdsSim;
  plc: PlcSim;
  /** The first jetstream host. */
  jetstream: JetstreamSim;
  jetstreams: readonly JetstreamSim[];
  /** An account for the owner of the spindle; it has no records yet. */
  owner: Account;
  /** What a spindle needs to live in this network, as this owner's. */
  env: { WHORL_JETSTREAM_URL: string; WHORL_PLC_URL: string; WHORL_OWNER_DID: string };
  close(): Promise<void>;
}

/** A small AT Protocol world: one PDS, a directory, a jetstream. It ends with the test. */
export async function startNetwork(options: TestNetworkOptions = {}): Promise<TestNetwork> {
  const network = createNetwork(options);
  const pds = await startPds(network);
  const plc = await startPlc(network);
  const jetstream = await startJetstream(network, options.jetstream);
  const jetstreams = [jetstream];
  while (jetstreams.length < (options.jetstreams ?? 1))
    jetstreams.push(await startJetstream(network, options.jetstream));
  const close = async (): Promise<void> => {
    await Promise.all([pds, plc, ...jetstreams].map((server) => server.close()));
  };
  if (!options.shared) onTestFinished(close);
  const owner = network.account({ handle: 'owner.test' });
  const env = {
    WHORL_JETSTREAM_URL: jetstreams.map(({ url }) => url).join(','),
    WHORL_PLC_URL: plc.url,
    WHORL_OWNER_DID: owner.did,
  };
  return { network, pds, plc, jetstream, jetstreams, owner, env, close };
}
