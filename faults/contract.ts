/*
 * The parts of a faults run and what they ask of each other. The harness process holds the links, the chaos actor and the
 * supervisor; Whorl's roles, PostgreSQL, Temporal and the simulators are processes of their own.
 */
import type { ScriptRule } from '../sim/buildkite/index.ts';
import type { CiTruth, Disturbance, Frame, LogRead, PushedJob } from './evidence.ts';

// Links: every connection between two processes goes through one of these.

/** What a link understands of what it carries. `tcp`: nothing. */
export type Protocol = 'tcp' | 'postgres' | 'http' | 'grpc';

/** A place in a conversation. */
export interface Point {
  /** `before`: the request has come and was not passed on. `after`: its answer has come and was not passed back. */
  when: 'before' | 'after';
  /**
   * postgres: `write` (a statement that changes rows: each is a transaction, unless there is one open), `commit` (of an
   * open transaction). http: `call`. grpc: `call`, with the method's name (`StartWorkflowExecution`).
   */
  what: 'write' | 'commit' | 'call';
  /** Text of the statement, `METHOD /path`, or name of the gRPC method; default any. */
  match?: RegExp;
}

/**
 * What becomes of it. `drop`: nothing is passed on and the connection ends. `pass`: goes on as if nothing had been.
 * A number: goes on so many ms later.
 */
export type Fate = 'drop' | 'pass' | number;

/** Something that waits for a point. */
export interface Armed {
  /** Resolves with what was there in words, when it was hit; with undefined when it was disarmed. */
  readonly hit: Promise<string | undefined>;
  disarm(): void;
}

export interface Link {
  readonly name: string;
  readonly port: number;
  /** Where it leads, `host:port`; the first that takes the connection gets it, beginning with the next one in turn. Holds for new connections. */
  to(...targets: string[]): void;
  /** Destroys all that is open; says how many. */
  cut(): number;
  /** New connections are reset until `mend`. */
  refuse(): void;
  /** Open connections, and new ones, stay open and pass nothing more; `mend` ends those. */
  halfOpen(): void;
  /** Each direction is so many ms later, in order. */
  delay(ms: number): void;
  /** Each direction passes at most so many bytes a second. */
  slow(bytesPerSecond: number): void;
  /** Ends refuse, halfOpen, delay and slow. */
  mend(): void;
  /**
   * Calls `decide` synchronously at the first such point, once. A signal sent to a process in it comes before the bytes do.
   * Throws for a point that the link's protocol does not have.
   */
  arm(point: Point, decide: (what: string) => Fate): Armed;
  readonly open: number;
  close(): Promise<void>;
}

export type OpenLink = (options: { name: string; protocol: Protocol; to?: string[] }) => Promise<Link>;

// Simulators, each a process of its own, asked over the channel of `fork`.

/** The other side of a child's handlers: the same functions, all of them later. */
export type Remote<H> = {
  [K in keyof H]: H[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

/** What happens to requests at the CI while it is on. `share`: of the matching requests, 0 to 1 (seeded). */
export type CiFault =
  | { kind: 'answer-lost'; share: number }
  | { kind: 'accepted-500'; share: number }
  | { kind: 'slow-create'; ms: number; share: number }
  | { kind: 'storm-429'; resetS: number; share: number }
  | { kind: 'storm-5xx'; share: number }
  | { kind: 'index-lag'; ms: number }
  | { kind: 'webhooks-lost'; share: number }
  | { kind: 'webhooks-doubled'; share: number }
  | { kind: 'webhooks-reordered'; share: number }
  | { kind: 'webhooks-late'; ms: number; share: number }
  /** The answer of CreateBuild comes after the build's first webhooks. */
  | { kind: 'webhooks-early'; share: number }
  /** Signed with the secret that was replaced. */
  | { kind: 'webhooks-old-secret' };

/** A person at the CI's pages. */
export type CiPerson = 'rebuild' | 'cancel' | 'retry-job';

export interface CiControl {
  /** Builds run by themselves: what they become follows from `seed` and their number. `secrets` are printed in their logs
   * and are in their environment, where `hidden` is too: of an author, whom nobody tells us about. */
  start(options: {
    seed: number;
    paceMs: number;
    token: string;
    webhookSecret: string;
    oldWebhookSecret: string;
    pipelines: string[];
    secrets: string[];
    hidden: string[];
  }): Promise<{ port: number }>;
  /** Webhooks go there from now on. */
  webhooksTo(url: string): void;
  /** Puts a fault on; the number takes it off again. */
  on(fault: CiFault): number;
  /** How often it acted. */
  off(fault: number): number;
  /** Sends a webhook that is not the CI's: a wrong signature, a stale one, another organisation's build. Says what was answered. */
  forge(pick: number): Promise<{ what: string; status: number }>;
  /** Does it to one of the recent builds that it can be done to; undefined: there was none. `pick` is a random number. */
  person(what: CiPerson, pick: number): string | undefined;
  /** Builds that still run by themselves, and webhooks still on their way. */
  busy(): { builds: number; webhooks: number };
  truth(): CiTruth;
  stop(): Promise<void>;
}

export interface PushOrder {
  /** Index of the repository in the list given to `start`. */
  repo: number;
  branch: string;
  files: { name: string; raw: string }[];
}

export interface TangledControl {
  /**
   * A PDS, a directory, a jetstream, and `knots` knots, which call themselves `knotHosts`. Repositories live on the knots
   * in turn; `served: false` is one whose record names another spindle, or nobody's. Returns ports and who is who.
   */
  start(options: { spindle: string; knotHosts: string[]; repos: { name: string; served: boolean }[] }): Promise<{
    pds: number;
    plc: number;
    jetstream: number;
    knots: number[];
    owner: string;
    repos: { did: string; name: string; knot: string; served: boolean }[];
  }>;
  /** Where the accounts' servers are said to be, `http://…`; the harness puts a link there. */
  pdsAt(url: string): void;
  push(order: PushOrder): { knot: string; rkey: string; commit: string; at: number };
  /** `knot`: index. `replay` sends its whole history again; the others hold until `off`. `drop-each`: breaks the link after each frame. */
  knotFault(knot: number, fault: 'replay' | 'ignore-cursor' | 'out-of-order' | 'drop-each' | 'off'): void;
  jetstreamFault(fault: 'replay' | 'drop' | 'ignore-cursor' | 'off'): void;
  /** Everything in the knots' books, for the check that nothing was left out of the list of pushes. */
  pushed(): { knot: string; rkey: string }[];
  stop(): Promise<void>;
}

export interface ReadersControl {
  /** One faithful reader and `wild` others of `url` (`ws://…`). */
  start(options: { url: string; wild: number; seed: number }): Promise<void>;
  /** A wild reader stops reading for so long, or breaks off and comes back at a random cursor. */
  wild(reader: number, what: 'stall' | 'jump', ms: number): void;
  /** Reads a log to its end or until `ms`; `break`: leaves in the middle. */
  readLog(log: { knot: string; rkey: string; job: string }, ms: number, breakOff: boolean): void;
  /** What came so far, without the frames that were handed out by an earlier call. */
  take(): { frames: Frame[]; logReads: LogRead[] };
  stop(): Promise<void>;
}

// The world that the chaos actor works on.

export type RoleName = 'ingest' | 'worker' | 'server';

/** One process of Whorl under its supervisor, which starts it again when it is gone. */
export interface Member {
  /** `ingest-1`. */
  readonly name: string;
  readonly role: RoleName;
  readonly pid: number | undefined;
  readonly alive: boolean;
  /** Its own links: to PostgreSQL, to Temporal, and to the CI and the network where the role uses them. */
  readonly links: { postgres: Link; temporal?: Link; ci?: Link; jetstream?: Link; plc?: Link };
  /** SIGKILL now. Started again after `restartMs`. */
  kill(restartMs: number): void;
  /**
   * SIGTERM now, started again `restartMs` after its end; SIGKILL when it does not end. Resolves when it has ended; with
   * false when it was not there, or about to be gone.
   */
  drain(restartMs: number): Promise<boolean>;
  /** The same, with another release in its place if there is one (the root of its tree); resolves when it is ready. */
  replace(by?: string): Promise<boolean>;
  /** Resolves when it has said that it is ready, since its last start. */
  ready(): Promise<void>;
  /** SIGSTOP now, SIGCONT after `ms`. Nothing when it is not alive. */
  freeze(ms: number): void;
  /** Moves its clock by so many ms from real time. It takes effect within 200 ms, in a process of now and in its successors. */
  clock(offsetMs: number): void;
}

export interface World {
  readonly members: readonly Member[];
  readonly ci: Remote<CiControl>;
  readonly tangled: Remote<TangledControl>;
  readonly readers: Remote<ReadersControl>;
  readonly links: {
    /** From the CI to both ingests. */
    webhooks: Link;
    /** From readers to both servers. */
    public: Link;
    /** Of each knot, by index. */
    knots: readonly Link[];
    pds: Link;
  };
  readonly postgres: {
    /** Fast stop (`immediate`: SIGKILL of all), and started again after `ms`. Resolves when it takes connections. */
    restart(how: 'fast' | 'immediate', ms: number): Promise<void>;
    /** Ends the connections that are in the middle of something; says how many. */
    terminate(): Promise<number>;
    /** Inserts fail with `disk full` (53100) while it is on. */
    diskFull(on: boolean): Promise<void>;
  };
  readonly temporal: {
    /** SIGKILL, and started again after `ms`. Resolves when its namespace answers. */
    restart(ms: number): Promise<void>;
  };
  /** A person pushes; `jobs` says what must come of each file. */
  push(order: PushOrder, jobs: readonly PushedJob[]): Promise<void>;
  /** Another process of a role, which is among `members` until it leaves. */
  join(role: RoleName): Promise<{ name: string; leave(how: 'drain' | 'kill'): Promise<void> }>;
  /** Roots of the releases that processes may run: this one, and an older one if the run has one. */
  readonly releases: readonly [string, ...string[]];
  /** The schema is brought to this release's while everything runs, as before an upgrade. */
  migrate(): Promise<void>;
  /**
   * Takes a backup of the database. What it gives loses the database: all processes are stopped, the backup is put back,
   * `whorl restore` is run (`dies`: it dies in the middle, and is run again), and the processes are started again.
   */
  backUp(): Promise<(dies: boolean) => Promise<void>>;
  /** Asks through the database, as `whorl cancel` does. */
  ask(kind: 'cancel' | 'rerun' | 'retry', pipeline: string, job: string | undefined): Promise<void>;
  /** Resets a workflow to its first or its last completed workflow task. False when there was nothing to reset. */
  reset(pipeline: string, to: 'first' | 'last'): Promise<boolean>;
  /** Pipelines that were pushed, newest last, with their jobs. */
  readonly pushes: readonly { id: string; knot: string; rkey: string; jobs: string[]; at: number }[];
  /** Books a fault that was done. */
  disturbed(disturbance: Disturbance): void;
  /** Aborted when the run ends. */
  readonly signal: AbortSignal;
}

/** How long things last in this run, ms; the whole of them is printed. */
export interface Scale {
  /** Longer than every lease (10 s). */
  freeze: number;
  /** Instead of ten minutes. */
  temporalAway: number;
  /** Instead of minutes. */
  webhookLate: number;
  indexLag: number;
}

/** One thing that the plan wants done. */
export interface Action {
  /** ms after the first push. */
  at: number;
  fault: string;
  /** For whatever the fault has to choose: uniform in 0 to 1, from the seed. */
  dice: number[];
}

/** A kind of fault. */
export interface Fault {
  readonly name: string;
  /** One sentence for `--help` and the docs. */
  readonly about: string;
  /** How often it is chosen beside the others. */
  readonly weight: number;
  /** Things of the same kind never overlap: `temporal`, `postgres`, `ci`; unset: it may always. */
  readonly alone?: string;
  /** Little gets done while it lasts: the plan has few of these at the same time. */
  readonly heavy?: true;
  /** For how long it lasts at most, ms, by which the plan spaces it. It may be longer by what services need to start. */
  lasts(scale: Scale): number;
  /** Does it, and resolves when it is over; how often it really happened (0: its point was never reached). */
  run(world: World, dice: readonly number[], scale: Scale): Promise<number>;
}

/** Builds of the CI's scripts follow from this. */
export type Scripts = (seed: number) => ScriptRule;
