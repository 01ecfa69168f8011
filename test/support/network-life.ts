import type { Network } from '../../sim/atproto/index.ts';
import { NSID } from '../../src/forges/tangled/nsid.ts';

/**
 * A network in which much happens: people are invited, make repositories, choose this spindle and leave it, write what
 * nobody can use, and strangers do the same. The same steps for the same number of calls.
 */
export function busyNetwork(network: Network, { owner, host }: { owner: string; host: string }) {
  const people = Array.from({ length: 5 }, (_, i) => network.account({ handle: `person${i}.test` }).did);
  const strangers = Array.from({ length: 5 }, (_, i) => network.account({ handle: `stranger${i}.test` }).did);
  const repos = new Map<string, string[]>();
  let step = 0;

  const choose = <T>(all: readonly T[]): T | undefined => all[step % all.length];
  const repo = (spindle?: string) => ({
    knot: 'knot.example',
    name: `repo${step}`,
    ...(spindle === undefined ? {} : { spindle }),
  });
  const write = (did: string, spindle?: string): void => {
    const { rkey } = network.repo(did, repo(spindle));
    repos.set(did, [...(repos.get(did) ?? []), rkey]);
  };

  const steps: ((did: string, mine: string | undefined) => void)[] = [
    (did) => write(did, host),
    (did) => write(did, 'elsewhere.example'),
    (did, mine) => mine && network.update(did, NSID.repo, mine, repo(host)),
    (did, mine) => mine && network.update(did, NSID.repo, mine, repo('elsewhere.example')),
    (did, mine) => mine && network.update(did, NSID.repo, mine, { knot: null, name: 12 }),
    (did, mine) => {
      if (mine) network.collaborator(did, `at://${did}/${NSID.repo}/${mine}`, people[0] ?? '');
    },
    (did, mine) => {
      if (mine === undefined) return;
      network.delete(did, NSID.repo, mine);
      repos.set(
        did,
        (repos.get(did) ?? []).filter((rkey) => rkey !== mine),
      );
    },
    () => network.repo(choose(strangers) ?? '', repo(step % 2 === 0 ? host : 'elsewhere.example')),
    () => network.invite(choose(strangers) ?? '', choose(strangers) ?? '', host),
    () => network.changeHandle(choose(strangers) ?? '', `stranger${step}.test`),
  ];

  return {
    people,
    strangers,
    inviteAll: (): void => people.forEach((did) => void network.invite(owner, did, host)),
    /** Goes on by some steps. */
    go(count: number): void {
      for (let i = 0; i < count; i++) {
        step++;
        const did = people[(step * 7) % people.length] ?? '';
        choose(steps)?.(did, repos.get(did)?.at(-1));
      }
    },
    /** Something at the end, so that whoever has seen it has seen everything. */
    end: (): string => network.invite(owner, owner, host).rkey,
  };
}
