import { randomBytes, randomUUID } from 'node:crypto';
import { logOf } from './log.ts';
import type { Signal } from './signal.ts';
import type { Build, BuildRef, Job, Pipeline, Token, User } from './types.ts';

/** A value by which builds can be looked up: of `commit`, or of `meta_data[key]`. */
export interface Exactly {
  readonly name: string;
  readonly value: string;
}

export interface Organization {
  readonly id: string;
  readonly slug: string;
  readonly createdAt: number;
}

/** Everything the simulated Buildkite knows. Other files change it; this one finds things in it. */
export interface World {
  /** Address of the simulator without a slash at its end; empty until it listens. */
  base: string;
  readonly signal: Signal;
  readonly organizations: Map<string, Organization>;
  readonly pipelines: Map<string, Pipeline>;
  readonly tokens: Map<string, Token>;
  /** Oldest first; `add` adds one. */
  readonly builds: Build[];
  /** Builds of a pipeline that go on, or have jobs that do. */
  open(pipeline: Pipeline): ReadonlySet<Build>;
  setOpen(build: Build, open: boolean): void;
  autoPipelines: boolean;
  now(): number;
  organization(slug: string): Organization | undefined;
  pipeline(org: string, slug: string): Pipeline | undefined;
  nextNumber(pipeline: Pipeline): number;
  add(build: Build): void;
  buildAt(org: string, pipeline: string, number: number): Build | undefined;
  /** Throws when no build, or more than one, has that name. */
  find(ref: BuildRef): Build;
  /** Makes a build's new job known to `findJob`. */
  addJob(build: Build, job: Job): void;
  findJob(id: string): { build: Build; job: Job } | undefined;
  setMetaData(build: Build, key: string, value: string): void;
  /** Builds that may have all of these values, oldest first: few where they are rare, and all builds for none. */
  among(wanted: readonly Exactly[]): readonly Build[];
  /** All that the log of a job holds by now, raw. */
  log(build: Build, job: Job): Buffer;
}

/** Settings of a pipeline; `org/slug` alone takes all defaults. */
export interface PipelineSettings {
  readonly org: string;
  readonly slug: string;
  readonly repository?: string;
  /** Shown in clear in every webhook, as the real one does. */
  readonly env?: Readonly<Record<string, string>>;
  readonly branchesDisabled?: boolean;
  readonly allowRebuilds?: boolean;
}

export interface TokenSettings {
  /** Unset: a random one. */
  readonly token?: string;
  readonly user?: Partial<User>;
  /** Unset: all that a spindle could want. */
  readonly scopes?: readonly string[];
  readonly organizations?: readonly string[];
  readonly description?: string;
  readonly expiresAt?: number | null;
}

/** Scopes of a token for which none were named. */
export const ALL_SCOPES: readonly string[] = [
  'read_builds',
  'write_builds',
  'read_build_logs',
  'write_build_logs',
  'read_pipelines',
  'read_organizations',
  'read_user',
];

/** Makes an empty world. */
export function createWorld(signal: Signal, now: () => number): World {
  const numbers = new Map<string, number>();
  const byId = new Map<string, Build>();
  const byAddress = new Map<string, Build>();
  const byJob = new Map<string, { build: Build; job: Job }>();
  const open = new Map<string, Set<Build>>();
  const byValue = new Map<string, Build[]>();
  const index = (name: string, value: string, build: Build): void => {
    const key = `${name} ${value}`;
    const known = byValue.get(key);
    if (known) known.push(build);
    else byValue.set(key, [build]);
  };
  const world: World = {
    base: '',
    signal,
    organizations: new Map(),
    pipelines: new Map(),
    tokens: new Map(),
    builds: [],
    autoPipelines: false,
    now,
    organization(slug) {
      const known = world.organizations.get(slug);
      if (known || !world.autoPipelines) return known;
      return addOrganization(world, slug);
    },
    pipeline(org, slug) {
      const known = world.pipelines.get(`${org}/${slug}`);
      if (known || !world.autoPipelines) return known;
      return addPipeline(world, { org, slug });
    },
    nextNumber(pipeline) {
      const number = (numbers.get(pipeline.id) ?? 0) + 1;
      numbers.set(pipeline.id, number);
      return number;
    },
    add(build) {
      world.builds.push(build);
      byId.set(build.id, build);
      byAddress.set(`${build.org}/${build.pipeline}/${build.number}`, build);
      index('commit', build.commit, build);
      for (const [key, value] of Object.entries(build.metaData)) index(`meta_data[${key}]`, value, build);
    },
    open: ({ org, slug }) => open.get(`${org}/${slug}`) ?? new Set(),
    setOpen(build, is) {
      const key = `${build.org}/${build.pipeline}`;
      const known = open.get(key) ?? new Set();
      open.set(key, known);
      if (is) known.add(build);
      else known.delete(build);
    },
    addJob: (build, job) => void byJob.set(job.id, { build, job }),
    findJob: (id) => byJob.get(id),
    setMetaData(build, key, value) {
      build.metaData[key] = value;
      byValue.set(
        `meta_data[${key}] ${value}`,
        world.builds.filter(({ metaData }) => metaData[key] === value),
      );
    },
    among(wanted) {
      const lists = wanted.map(({ name, value }) => byValue.get(`${name} ${value}`) ?? []);
      return lists.reduce<readonly Build[]>((few, list) => (list.length < few.length ? list : few), world.builds);
    },
    buildAt: (org, pipeline, number) => byAddress.get(`${org}/${pipeline}/${number}`),
    find(ref) {
      const found =
        typeof ref === 'string'
          ? [byId.get(ref)]
          : typeof ref === 'number'
            ? world.builds.filter((build) => build.number === ref)
            : [byAddress.get(`${ref.org}/${ref.pipeline}/${ref.number}`)];
      const [build, second] = found;
      const name = JSON.stringify(ref);
      if (second) throw new Error(`several pipelines have a build ${name}: give org, pipeline and number`);
      if (!build) throw new Error(`no build ${name} in the Buildkite simulator`);
      return build;
    },
    log: (_build, job) => logOf(job).bytes(now()),
  };
  return world;
}

/** Adds an organisation; adding it again changes nothing. */
export function addOrganization(world: World, slug: string): Organization {
  const known = world.organizations.get(slug);
  if (known) return known;
  const organization = { id: randomUUID(), slug, createdAt: world.now() };
  world.organizations.set(slug, organization);
  return organization;
}

/** Adds a pipeline and its organisation, or changes the settings of one that exists (its builds stay). */
export function addPipeline(world: World, settings: PipelineSettings | string): Pipeline {
  const given = typeof settings === 'string' ? parseSlug(settings) : settings;
  addOrganization(world, given.org);
  const key = `${given.org}/${given.slug}`;
  const known = world.pipelines.get(key);
  const pipeline: Pipeline = {
    id: known?.id ?? randomUUID(),
    org: given.org,
    slug: given.slug,
    name: given.slug,
    repository: given.repository ?? known?.repository ?? `https://git.example/${key}.git`,
    createdAt: known?.createdAt ?? world.now(),
    env: given.env ?? known?.env ?? {},
    branchesDisabled: given.branchesDisabled ?? known?.branchesDisabled ?? false,
    allowRebuilds: given.allowRebuilds ?? known?.allowRebuilds ?? true,
  };
  world.pipelines.set(key, pipeline);
  return pipeline;
}

/** Adds a token, by default of a new user. */
export function addToken(world: World, settings: TokenSettings = {}): Token {
  const token: Token = {
    id: randomUUID(),
    token: settings.token ?? `bkua_${randomBytes(20).toString('hex')}`,
    user: {
      id: settings.user?.id ?? randomUUID(),
      name: settings.user?.name ?? 'Machine User',
      email: settings.user?.email ?? 'machine@users.example',
    },
    scopes: settings.scopes ?? ALL_SCOPES,
    ...(settings.organizations ? { organizations: settings.organizations } : {}),
    description: settings.description ?? 'simulated token',
    createdAt: world.now(),
    expiresAt: settings.expiresAt ?? null,
  };
  world.tokens.set(token.token, token);
  return token;
}

function parseSlug(text: string): PipelineSettings {
  const [org, slug, rest] = text.split('/');
  if (!org || !slug || rest !== undefined) {
    throw new Error(`"${text}" is not a pipeline: write organisation/pipeline, as in acme/app`);
  }
  return { org, slug };
}
