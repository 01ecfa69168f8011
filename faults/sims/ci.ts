// First: what it sets counts only for a heap that is still small.
import './small-heap.ts';
import { type BuildEvent, type BuildkiteSim, startBuildkite, type Webhook } from '../../sim/buildkite/index.ts';
import type { CiControl } from '../contract.ts';
import type { SentDelivery } from '../evidence.ts';
import { serve } from '../remote.ts';
import { retries, scripts } from './ci/fates.ts';
import { type CiFaults, ciFaults } from './ci/faults.ts';
import { forge } from './ci/forgery.ts';
import { logWriter } from './ci/logs.ts';
import { act } from './ci/persons.ts';
import { truthOf } from './ci/truth.ts';

/** What an organisation should send: how builds go. */
const EVENTS: readonly BuildEvent[] = [
  'build.scheduled',
  'build.running',
  'build.failing',
  'build.finished',
  'build.skipped',
];

/** As long as the real one waits. */
const HOOK_TIMEOUT = 5_000;

interface Running {
  sim: BuildkiteSim;
  faults: CiFaults;
  /** Asked for each webhook as it is sent. */
  secret: () => string;
  /** The right one, whatever the CI signs with. */
  webhookSecret: string;
  forged: Omit<SentDelivery, 'n'>[];
  /** Ids of the builds that our token made, oldest first. */
  ours: string[];
  /** Of the builds that only pretend to be ours. */
  foreign: Set<string>;
}

let running: Running | undefined;
let hook: { webhook: Webhook; url: string } | undefined;

function ci(): Running {
  if (!running) throw new Error('the CI was not started');
  return running;
}

serve<CiControl>({
  async start({ seed, paceMs, token, webhookSecret, oldWebhookSecret, pipelines, secrets, hidden }) {
    const env = Object.fromEntries([...secrets, ...hidden].map((secret, n) => [`SECRET_${n + 1}`, secret]));
    const ours: string[] = [];
    let made = 0;
    let old = false;
    let signedOld = 0;
    const sim = await startBuildkite({
      clock: 'auto',
      pace: paceMs,
      token: { token },
      pipelines: pipelines.map((name) => {
        const [org = '', slug = ''] = name.split('/');
        return { org, slug, env };
      }),
      keepBodies: false,
      log: logWriter(seed, paceMs, secrets),
    });
    const script = scripts(paceMs, () => faults.lag())(seed);
    sim.script((build, cause) => {
      made++;
      if (build.creator?.id === sim.user.id) ours.push(build.id);
      return script(build, cause);
    });
    sim.script(retries(seed), ['retry']);
    const faults = ciFaults({
      sim,
      seed,
      paceMs,
      made: () => made,
      oldSecret(on) {
        old = on;
      },
      signedOld: () => signedOld,
    });
    const secret = (): string => {
      if (old) signedOld++;
      return old ? oldWebhookSecret : webhookSecret;
    };
    running = { sim, faults, secret, webhookSecret, forged: [], ours, foreign: new Set() };
    return { port: sim.port };
  },
  webhooksTo(url) {
    const { sim, secret } = ci();
    hook?.webhook.remove();
    hook = {
      url,
      webhook: sim.webhook({ url, mode: 'signature', secret, events: EVENTS, timeout: HOOK_TIMEOUT }),
    };
  },
  on: (fault) => ci().faults.on(fault),
  off: (number) => ci().faults.off(number),
  async forge(pick) {
    const { sim, webhookSecret, forged, ours, foreign } = ci();
    if (!hook) throw new Error('nobody has said where webhooks go');
    const sent = await forge(
      { sim, url: hook.url, secret: webhookSecret, ours, foreign: (build) => void foreign.add(build) },
      pick,
    );
    forged.push(sent);
    return { what: sent.fault ?? '', status: sent.status ?? 0 };
  },
  person: (what, pick) => act(ci().sim, ci().ours, what, pick),
  busy: () => ci().sim.pending(),
  truth() {
    const { sim, forged, foreign } = ci();
    return truthOf(sim, forged, foreign);
  },
  async stop() {
    await running?.sim.close();
    running = undefined;
    hook = undefined;
  },
});
