import {
  createNetwork,
  type JetstreamSim,
  type Network,
  startJetstream,
  startPds,
  startPlc,
} from '../../sim/atproto/index.ts';
import { type KnotSim, startKnot } from '../../sim/knot/knot.ts';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import type { TangledControl } from '../contract.ts';
import { serve } from '../remote.ts';

interface Repo {
  did: string;
  name: string;
  knot: number;
  served: boolean;
}

interface Running {
  network: Network;
  jetstream: JetstreamSim;
  knots: KnotSim[];
  repos: Repo[];
  close(): Promise<void>;
}

let running: Running | undefined;

function tangled(): Running {
  if (!running) throw new Error('the network was not started');
  return running;
}

function knotAt(index: number): KnotSim {
  const knot = tangled().knots[index];
  if (!knot) throw new Error(`there is no knot ${index}`);
  return knot;
}

serve<TangledControl>({
  async start({ spindle, knotHosts, repos: wanted }) {
    const network = createNetwork();
    const pds = await startPds(network);
    const plc = await startPlc(network);
    const jetstream = await startJetstream(network);
    const knots: KnotSim[] = [];
    // The second is of the newer generation, whose rules for cursors and batches are others.
    for (const [n, host] of knotHosts.entries()) knots.push(await startKnot({ host, generation: n === 1 ? 'B' : 'A' }));

    const owner = network.account({ handle: 'owner.test' }).did;
    const members = [1, 2, 3].map((n) => network.account({ handle: `member${n}.test` }).did);
    const stranger = network.account({ handle: 'stranger.test' }).did;
    for (const member of members) network.invite(owner, member, spindle);

    const people = [owner, ...members];
    let [servedSoFar, othersSoFar] = [0, 0];
    const repos = wanted.map(({ name, served }, n): Repo => {
      const knot = n % knotHosts.length;
      const place = { knot: knotHosts[knot] ?? '', name };
      if (served) {
        const did = people[servedSoFar++ % people.length] ?? owner;
        network.repo(did, { ...place, spindle });
        return { did, name, knot, served };
      }
      // A stranger who names us, and a member who names another spindle.
      const strange = othersSoFar++ % 2 === 0;
      const did = strange ? stranger : (members[othersSoFar % members.length] ?? owner);
      network.repo(did, { ...place, spindle: strange ? spindle : 'elsewhere.example' });
      return { did, name, knot, served };
    });
    running = {
      network,
      jetstream,
      knots,
      repos,
      async close() {
        await Promise.all([pds, plc, jetstream, ...knots].map((one) => one.close()));
      },
    };
    return {
      pds: pds.port,
      plc: plc.port,
      jetstream: jetstream.port,
      knots: knots.map(({ port }) => port),
      owner,
      repos: repos.map(({ did, name, knot, served }) => ({ did, name, knot: knotHosts[knot] ?? '', served })),
    };
  },
  pdsAt(url) {
    const { network } = tangled();
    for (const { did } of network.accounts()) network.pointTo(did, url);
  },
  push({ repo: index, branch, files }) {
    const repo = tangled().repos[index];
    if (!repo) throw new Error(`there is no repository ${index}`);
    const knot = knotAt(repo.knot);
    const at = Date.now();
    const { rkey, sha } = knot.push({
      repo: { did: repo.did, name: repo.name, defaultBranch: 'main' },
      workflows: files,
      ref: `refs/heads/${branch}`,
    });
    return { knot: knot.host, rkey, commit: sha, at };
  },
  knotFault(index, fault) {
    const knot = knotAt(index);
    switch (fault) {
      case 'replay':
        return knot.replayAll();
      case 'ignore-cursor':
        knot.faults.ignoreCursor = true;
        // A cursor matters only when somebody dials.
        return knot.dropAll();
      case 'out-of-order':
        knot.faults.outOfOrder = true;
        return undefined;
      case 'drop-each':
        knot.faults.dropEach = true;
        return undefined;
      case 'off':
        // Whom it served from the beginning may still be far behind, and an old knot sends the rest only page by page.
        if (knot.faults.ignoreCursor) knot.dropAll();
        Object.assign(knot.faults, { ignoreCursor: false, outOfOrder: false, dropEach: false });
        return undefined;
    }
  },
  jetstreamFault(fault) {
    const { jetstream } = tangled();
    switch (fault) {
      case 'replay':
        return jetstream.replayAll();
      case 'drop':
        return jetstream.dropAll();
      case 'ignore-cursor':
        jetstream.faults.ignoreCursor = true;
        return jetstream.dropAll();
      case 'off':
        jetstream.faults.ignoreCursor = false;
        return undefined;
    }
  },
  pushed: () =>
    tangled().knots.flatMap(({ host, history }) =>
      history.filter(({ nsid }) => nsid === NSID.pipeline).map(({ rkey }) => ({ knot: host, rkey })),
    ),
  async stop() {
    await running?.close();
    running = undefined;
  },
});
