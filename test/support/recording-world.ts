import type { Armed, Fate, Link, Member, Point, RoleName, World } from '../../faults/contract.ts';
import type { Disturbance } from '../../faults/evidence.ts';

/** A world without processes: it writes down what is done to it. */
export interface RecordingWorld {
  world: World;
  /** What is on and not off again, in words; empty when everything is as it was. */
  left(): string[];
  /** Everything that was done, in order. */
  done: string[];
  disturbances: Disturbance[];
  /** A process of a role comes to such a point; what becomes of it there. */
  reach(member: string, kind: 'postgres' | 'temporal' | 'ci', point: Point['when'], what: string): Fate;
  abort(): void;
}

interface RecordingLink extends Link {
  reach(when: Point['when'], what: string): Fate;
  left(): string[];
}

function recordingLink(name: string, done: string[]): RecordingLink {
  const armed = new Set<{ point: Point; decide: (what: string) => Fate; resolve(what?: string): void }>();
  const on = new Set<string>();
  const put = (what: string): void => {
    on.add(what);
    done.push(`${name}: ${what}`);
  };
  return {
    name,
    port: 1,
    open: 2,
    to() {},
    cut() {
      done.push(`${name}: cut`);
      return 2;
    },
    refuse: () => put('refuses'),
    halfOpen: () => put('half open'),
    delay: () => put('delays'),
    slow: () => put('slow'),
    mend: () => on.clear(),
    arm(point, decide): Armed {
      const { promise, resolve } = Promise.withResolvers<string | undefined>();
      const one = { point, decide, resolve };
      armed.add(one);
      done.push(`${name}: armed`);
      return {
        hit: promise,
        disarm() {
          if (armed.delete(one)) resolve(undefined);
        },
      };
    },
    reach(when, what) {
      const one = [...armed].find(({ point }) => point.when === when && (point.match?.test(what) ?? true));
      if (!one) return 'pass';
      armed.delete(one);
      const fate = one.decide(what);
      one.resolve(what);
      return fate;
    },
    left: () => [...[...on].map((what) => `${name} ${what}`), ...[...armed].map(() => `${name} is armed`)],
    async close() {},
  };
}

/** `fails`: names of functions that throw, such as `ci.on`. */
export function recordingWorld(fails: readonly string[] = []): RecordingWorld {
  const controller = new AbortController();
  const done: string[] = [];
  const disturbances: Disturbance[] = [];
  const links: RecordingLink[] = [];
  const on = new Map<string, number | string>();
  const link = (name: string): RecordingLink => {
    const made = recordingLink(name, done);
    links.push(made);
    return made;
  };
  const say = (name: string, ...args: unknown[]): void => {
    done.push(`${name} ${args.join(' ')}`.trim());
    if (fails.includes(name)) throw new Error(`${name} is away`);
  };
  const members = (['ingest', 'worker', 'server'] as const).flatMap((role: RoleName) =>
    [1, 2].map((n): Member => {
      const name = `${role}-${n}`;
      return {
        name,
        role,
        pid: 1,
        alive: true,
        links: {
          postgres: link(`${name}/postgres`),
          ...(role === 'server' ? {} : { temporal: link(`${name}/temporal`) }),
          ...(role === 'worker' ? { ci: link(`${name}/ci`) } : {}),
        },
        kill: (ms) => say('kill', name, ms),
        async drain(ms) {
          say('drain', name, ms);
          return true;
        },
        async replace(by) {
          say('replace', name, by);
          return true;
        },
        async ready() {},
        freeze(ms) {
          say('freeze', name, ms);
          // As the real one, a stop of no time ends the one before.
          if (ms === 0) on.delete(`${name} frozen`);
          else on.set(`${name} frozen`, ms);
        },
        clock(ms) {
          say('clock', name, ms);
          if (ms === 0) on.delete(`${name} clock`);
          else on.set(`${name} clock`, ms);
        },
      };
    }),
  );
  let faults = 0;
  const held = (what: string) => (target: unknown, fault: string) => {
    say(what, target, fault);
    if (fault === 'off') on.delete(`${what} ${String(target)}`);
    else if (fault !== 'replay' && fault !== 'drop') on.set(`${what} ${String(target)}`, fault);
  };
  const world: World = {
    members,
    links: {
      webhooks: link('webhooks'),
      public: link('public'),
      knots: [link('knot-1'), link('knot-2')],
      pds: link('pds'),
    },
    ci: {
      start: async () => ({ port: 1 }),
      webhooksTo: async () => {},
      async on({ kind }) {
        say('ci.on', kind);
        faults += 1;
        on.set(`ci ${faults}`, kind);
        return faults;
      },
      async off(number) {
        say('ci.off', number);
        on.delete(`ci ${number}`);
        return 3;
      },
      async forge() {
        say('ci.forge');
        return { what: 'garbage', status: 400 };
      },
      async person(what) {
        say('ci.person', what);
        return 'done';
      },
      busy: async () => ({ builds: 0, webhooks: 0 }),
      truth: async () => ({ user: '', requests: [], builds: [], deliveries: [] }),
      stop: async () => {},
    },
    tangled: {
      start: async () => ({ pds: 1, plc: 1, jetstream: 1, knots: [], owner: '', repos: [] }),
      pdsAt: async () => {},
      push: async () => ({ knot: '', rkey: '', commit: '', at: 0 }),
      knotFault: async (knot, fault) => held('knot')(knot, fault),
      jetstreamFault: async (fault) => held('jetstream')('', fault),
      pushed: async () => [],
      stop: async () => {},
    },
    readers: {
      start: async () => {},
      wild: async (_, what) => say('readers.wild', what),
      readLog: async ({ rkey }) => say('readers.readLog', rkey),
      take: async () => ({ frames: [], logReads: [] }),
      stop: async () => {},
    },
    postgres: {
      restart: async (how) => say('postgres.restart', how),
      async terminate() {
        say('postgres.terminate');
        return 4;
      },
      async diskFull(full) {
        say('postgres.diskFull', full);
        if (full) on.set('disk', 'full');
        else on.delete('disk');
      },
    },
    temporal: { restart: async (ms) => say('temporal.restart', ms) },
    push: async ({ repo, branch }) => say('push', repo, branch),
    async join(role) {
      say('join', role);
      on.set(`another ${role}`, 'joined');
      return {
        name: `${role}-joined-1`,
        async leave(how) {
          say('leave', role, how);
          on.delete(`another ${role}`);
        },
      };
    },
    releases: ['present', 'older'],
    migrate: async () => say('migrate'),
    async backUp() {
      say('backUp');
      return async (dies) => say('restore', dies);
    },
    ask: async (kind, pipeline) => say('ask', kind, pipeline),
    async reset(pipeline, to) {
      say('reset', pipeline, to);
      return true;
    },
    pushes: Array.from({ length: 30 }, (_, n) => ({
      id: `pipeline/knot/${n}`,
      knot: 'knot',
      rkey: `${n}`,
      jobs: ['ci.yml', 'lint.yml'],
      at: n,
    })),
    disturbed: (disturbance) => void disturbances.push(disturbance),
    signal: controller.signal,
  };
  return {
    world,
    left: () => [...[...on].map(([what, how]) => `${what}: ${how}`), ...links.flatMap((each) => each.left())],
    done,
    disturbances,
    reach: (member, kind, when, what) =>
      links.find(({ name }) => name === `${member}/${kind}`)?.reach(when, what) ?? 'pass',
    abort: () => controller.abort(),
  };
}
