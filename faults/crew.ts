import type { Link, Member, Protocol, RoleName } from './contract.ts';
import type { Crash } from './evidence.ts';
import { type Supervised, supervise } from './member.ts';
import { lastingPorts } from './ports.ts';
import type { DatabaseService, Engine } from './services.ts';

/** Where the processes of Whorl find everything else. */
export interface Surroundings {
  link(name: string, protocol: Protocol, ...to: string[]): Promise<Link>;
  database: DatabaseService;
  engine: Engine;
  /** Links that go along when a service has another address. */
  towards: { postgres: Link[]; temporal: Link[] };
  /** Ports of the simulators. */
  ports: { ci: number; jetstream: number; plc: number };
  /** What all of them are told. */
  env: Record<string, string>;
  /** For logs and clocks. */
  dir: string;
  /** Of the release that they begin with. */
  root: string;
  onCrash(crash: Crash): void;
}

/** All processes of Whorl, with the two places at which others find them. */
export interface Crew {
  /** Those that there are now. */
  readonly members: readonly Supervised[];
  /** From the CI to the ingests, and from readers to the servers. */
  readonly links: { webhooks: Link; public: Link };
  /** Where each of those that stay tells its metrics. */
  readonly metrics: { name: string; url: string }[];
  ready(): Promise<void>;
  join(role: RoleName): Promise<{ name: string; leave(how: 'drain' | 'kill'): Promise<void> }>;
  /** All are told to stop, and are not started again before `wake`. */
  rest(): Promise<void>;
  wake(): void;
  stop(): Promise<void>;
}

const roleNames: readonly RoleName[] = ['ingest', 'worker', 'server'];
const replicas = 2;

export async function startCrew(around: Surroundings): Promise<Crew> {
  const { link, database, engine, towards, ports, env, dir, root, onCrash } = around;
  const members: Supervised[] = [];
  const faces: Record<'ingest' | 'server', number[]> = { ingest: [], server: [] };
  const metrics: Crew['metrics'] = [];
  const links = { webhooks: await link('webhooks', 'tcp'), public: await link('public', 'tcp') };
  let joined = 0;
  let resting = false;

  const lead = (): void => {
    const to = (role: 'ingest' | 'server'): string[] => faces[role].map((port) => `127.0.0.1:${port}`);
    links.webhooks.to(...to('ingest'));
    links.public.to(...to('server'));
  };

  const add = async (role: RoleName, name: string) => {
    const [own = 0, told = 0] = await lastingPorts(2);
    const postgres = await link(`${name}/postgres`, 'postgres', database.address);
    const all: Member['links'] = { postgres };
    towards.postgres.push(postgres);
    if (role !== 'server') {
      all.temporal = await link(`${name}/temporal`, 'grpc', engine.address);
      towards.temporal.push(all.temporal);
    }
    if (role === 'worker') all.ci = await link(`${name}/ci`, 'http', `127.0.0.1:${ports.ci}`);
    if (role === 'ingest') {
      all.jetstream = await link(`${name}/jetstream`, 'tcp', `127.0.0.1:${ports.jetstream}`);
      all.plc = await link(`${name}/plc`, 'tcp', `127.0.0.1:${ports.plc}`);
    }
    const at = (which: Link | undefined, fallback: number): string => `127.0.0.1:${which?.port ?? fallback}`;
    const given = {
      ...env,
      WHORL_DATABASE_URL: database.urlAt(at(postgres, 0)),
      TEMPORAL_ADDRESS: at(all.temporal, 9),
      WHORL_BUILDKITE_API_URL: `http://${at(all.ci, ports.ci)}/v2`,
      WHORL_JETSTREAM_URL: `ws://${at(all.jetstream, ports.jetstream)}/subscribe`,
      WHORL_PLC_URL: `http://${at(all.plc, ports.plc)}`,
      WHORL_LISTEN_ADDR: `127.0.0.1:${role === 'server' ? own : 0}`,
      WHORL_WEBHOOK_ADDR: `127.0.0.1:${role === 'ingest' ? own : 0}`,
      WHORL_HEALTH_ADDR: '127.0.0.1:0',
      WHORL_METRICS_ADDR: `127.0.0.1:${told}`,
    };
    const member = supervise({ name, role, env: given, links: all, dir, root, onCrash });
    members.push(member);
    if (role !== 'worker') faces[role].push(own);
    lead();
    return { member, metrics: { name, url: `http://127.0.0.1:${told}/metrics` }, port: own };
  };

  for (const role of roleNames)
    for (let n = 1; n <= replicas; n += 1) metrics.push((await add(role, `${role}-${n}`)).metrics);

  return {
    members,
    links,
    metrics,
    ready: async () => void (await Promise.all(members.map((each) => each.ready()))),
    async join(role) {
      if (resting) throw new Error('all processes rest');
      joined += 1;
      const { member, port } = await add(role, `${role}-joined-${joined}`);
      return {
        name: member.name,
        async leave(how) {
          members.splice(members.indexOf(member), 1);
          if (role !== 'worker') faces[role].splice(faces[role].indexOf(port), 1);
          if (how === 'kill') member.kill(0);
          await member.stop();
          lead();
        },
      };
    },
    async rest() {
      resting = true;
      await Promise.all(members.map((each) => each.rest()));
    },
    wake() {
      resting = false;
      for (const each of members) each.wake();
    },
    stop: async () => void (await Promise.all([...members].map((each) => each.stop()))),
  };
}
