import { setTimeout as delay } from 'node:timers/promises';
import { type Account, createNetwork, startJetstream, startPds, startPlc } from '../sim/atproto/index.ts';
import type { KnotSim } from '../sim/knot/knot.ts';
import { NSID } from '../src/forges/tangled/nsid.ts';
import type { Sql } from '../src/store/db.ts';
import { chosenSince } from '../src/store/repos.ts';

/** What Whorl is called in records. */
export const host = 'spindle.example';

/** It takes milliseconds. */
const limitMs = 20_000;

/** A repository as a knot names it. */
export interface Repo {
  did: string;
  name: string;
}

export interface DemoNetwork {
  owner: Account;
  member: Account;
  /** What Whorl needs to live in it, as the owner's. */
  env: Record<string, string>;
  /** Resolves when Whorl reads the jetstream. */
  read(): Promise<unknown>;
  /**
   * The owner invites the member, and a repository of the member chooses Whorl: a record for each, and no other word to
   * anybody. `told` gets a line for what Whorl makes of it.
   */
  join(around: { sql: Sql; knot: KnotSim; signal: AbortSignal; told: (line: string) => void }): Promise<Repo>;
  close(): Promise<void>;
}

/** A small AT Protocol network: two accounts, the server that they live on, the directory, and a jetstream. */
export async function startNetwork(): Promise<DemoNetwork> {
  const network = createNetwork();
  const [pds, plc, jetstream] = await Promise.all([startPds(network), startPlc(network), startJetstream(network)]);
  const owner = network.account({ handle: 'owner.test' });
  const member = network.account({ handle: 'alice.test' });
  // What an appview writes when the owner adds the spindle there.
  network.create(owner.did, 'sh.tangled.spindle', { $type: 'sh.tangled.spindle' }, host);
  return {
    owner,
    member,
    env: { WHORL_OWNER_DID: owner.did, WHORL_JETSTREAM_URL: jetstream.url, WHORL_PLC_URL: plc.url },
    read: () => jetstream.connected(),

    async join({ sql, knot, signal, told }) {
      const repo = { did: member.did, name: 'whorl-demo' };
      const readers = knot.connections.length;
      const took = async (what: string, check: () => Promise<boolean>): Promise<number> => {
        const began = Date.now();
        while (!(await check())) {
          signal.throwIfAborted();
          if (Date.now() - began > limitMs)
            throw new Error(`Whorl did not notice within ${limitMs / 1000} s that ${what}`);
          await delay(5);
        }
        return Date.now() - began;
      };

      network.invite(owner.did, member.did, host);
      const invited = await took('a member was invited', async () => {
        const rows = await sql`
          select from records where collection = ${NSID.member} and value ->> 'subject' = ${member.did}`;
        return rows.length > 0;
      });
      told(`invited: a record of ${owner.handle}'s makes ${member.handle} a member; Whorl knows after ${invited} ms`);

      network.repo(member.did, { knot: knot.host, name: repo.name, spindle: host });
      const began = Date.now();
      const key = { knot: knot.host, ...repo };
      const chosen = await took('a repository chose it', async () => (await chosenSince(sql, key)) !== undefined);
      told(`chosen: the record of ${member.handle}'s repository names ${host}; Whorl knows after ${chosen} ms`);
      await took('there is a knot to read', async () => knot.connections.length > readers);
      told(`connected: Whorl reads the repository's knot, ${Date.now() - began} ms after the record`);
      return repo;
    },
    async close() {
      await Promise.all([pds.close(), plc.close(), jetstream.close()]);
    },
  };
}
