import { randomBytes, randomUUID } from 'node:crypto';
import { type Build, type BuildkiteSim, type HookEvent, signature } from '../../../sim/buildkite/index.ts';
import type { SentDelivery } from '../../evidence.ts';
import { pickOf } from '../dice.ts';

export interface Forger {
  sim: BuildkiteSim;
  url: string;
  secret: string;
  /** Builds that our token made, oldest first. */
  ours: readonly string[];
  /** Called for a build that is somebody else's and pretends to be ours. */
  foreign(build: string): void;
}

/** What is sent. `build`: the one that it names. */
interface Forgery {
  body: string;
  headers: Record<string, string>;
  build: Build | undefined;
}

const seconds = (): number => Math.floor(Date.now() / 1000);
const signed = (secret: string, body: string, at = seconds()) => ({
  'X-Buildkite-Signature': signature(secret, at, body),
});

/** The kinds. Each names the newest build of ours, if there is one, and says that it has passed. */
const KINDS: Record<string, (forger: Forger, build: Build | undefined) => Forgery> = {
  'no signature': (forger, build) => ({ body: lie(forger, build), headers: {}, build }),
  'a wrong signature': (forger, build) => ({
    body: lie(forger, build),
    headers: { 'X-Buildkite-Signature': `timestamp=${seconds()},signature=${randomBytes(32).toString('hex')}` },
    build,
  }),
  'a signature of ten minutes ago': (forger, build) => {
    const body = lie(forger, build);
    return { body, headers: signed(forger.secret, body, seconds() - 600), build };
  },
  'signed with a wrong secret': (forger, build) => {
    const body = lie(forger, build);
    return { body, headers: signed('a guessed secret', body), build };
  },
  "another person's build with our meta_data": (forger, build) => {
    const { sim } = forger;
    const org = build?.org ?? 'acme';
    sim.pipeline(`${org}/elsewhere`);
    const theirs = sim.create(org, 'elsewhere', {
      commit: build?.commit ?? 'HEAD',
      branch: build?.branch ?? 'main',
      metaData: { ...build?.metaData },
    });
    forger.foreign(theirs.id);
    const body = lie(forger, theirs);
    return { body, headers: signed(forger.secret, body), build: theirs };
  },
  'an oversized body': (forger, build) => {
    const body = lie(forger, build, 'x'.repeat(2 * 1024 * 1024));
    return { body, headers: signed(forger.secret, body), build };
  },
  garbage: (forger) => {
    const body = `{"event":"build.finished","build":${randomBytes(60).toString('latin1')}`;
    return { body, headers: signed(forger.secret, body), build: undefined };
  },
};

/** Sends a webhook that is not the CI's, and gives it as it is recorded; its fault is the kind. */
export async function forge(forger: Forger, pick: number): Promise<Omit<SentDelivery, 'n'>> {
  const { sim, ours, url } = forger;
  const id = pickOf(ours.slice(-20), pick * 31);
  const [what, make] = pickOf(Object.entries(KINDS), pick) ?? ['garbage', KINDS['garbage']];
  const made = make?.(forger, id === undefined ? undefined : sim.build(id));
  if (!made) throw new Error(`no forgery ${what}`);
  const event: HookEvent = 'build.finished';
  const requestId = randomUUID();
  const at = Date.now();
  const { build } = made;
  const delivery: Omit<SentDelivery, 'n'> = {
    hook: 'forged',
    url,
    event,
    build: build ? { id: build.id, org: build.org, pipeline: build.pipeline, number: build.number } : null,
    job: null,
    requestId,
    at,
    sentAt: at,
    status: null,
    outcome: 'failed',
    error: null,
    fault: what,
    forged: true,
  };
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'User-Agent': 'Buildkite-Request',
        'X-Buildkite-Event': event,
        'X-Buildkite-Request': requestId,
        ...made.headers,
      },
      body: made.body,
      redirect: 'manual',
      signal: AbortSignal.timeout(5_000),
    });
    await response.arrayBuffer();
    return { ...delivery, status: response.status, outcome: 'answered' };
  } catch (error) {
    return { ...delivery, error: error instanceof Error ? error.message : String(error) };
  }
}

/** The body of a webhook which says that a build has passed; of no build of ours, if there is none yet. */
function lie({ sim }: Forger, build: Build | undefined, message = ''): string {
  const address = build ?? { org: 'acme', pipeline: 'app', number: 1 };
  const now = `${new Date().toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  return JSON.stringify({
    event: 'build.finished',
    build: {
      id: build?.id ?? randomUUID(),
      url: `${sim.apiUrl}/organizations/${address.org}/pipelines/${address.pipeline}/builds/${address.number}`,
      web_url: `${sim.url}/${address.org}/${address.pipeline}/builds/${address.number}`,
      number: address.number,
      state: 'passed',
      blocked: false,
      message: message || (build?.message ?? null),
      commit: build?.commit ?? 'HEAD',
      branch: build?.branch ?? 'main',
      source: build?.source ?? 'api',
      created_at: now,
      scheduled_at: now,
      started_at: now,
      finished_at: now,
      meta_data: build?.metaData ?? {},
      rebuilt_from: null,
    },
    pipeline: { slug: address.pipeline },
    sender: { id: sim.person.id, name: sim.person.name },
  });
}
