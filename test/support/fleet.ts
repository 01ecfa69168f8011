import path from 'node:path';
import { inject, onTestFinished } from 'vitest';
import type { Link } from '../../faults/contract.ts';
import { type AppviewSim, startAppview } from '../../sim/appview/appview.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { linked } from './linked.ts';
import { type RoleProcess, startRoleProcess } from './role-process.ts';
import { buildEvents, repo, secret, spindle, type Spindle, type SpindleOptions } from './spindle.ts';

export type RoleName = 'ingest' | 'worker' | 'server';

export interface Member extends RoleProcess {
  role: RoleName;
  /** Of what it serves. */
  url: string;
}

/** Real processes of roles, as many as one likes, behind two load balancers. */
export interface Fleet {
  whorl: Spindle;
  /** A strict reader of `/events` behind the balancer; `whorl.appview` reads a server inside this process. */
  appview: AppviewSim;
  /** `http://host:port` of the balancers. They do not look at `/readyz`: who refuses a connection gets none. */
  webhooks: string;
  face: string;
  members: Member[];
  /** `root`: the tree to run, this one unless said otherwise. */
  start(role: RoleName, env?: Record<string, string>, root?: string): Promise<Member>;
}

/** Waits that are short, so that what a killed process leaves is taken up again soon. */
export const hasty: Record<string, string> = {
  WHORL_SILENCE_FIRST: '2s',
  WHORL_SILENCE_MAX: '5s',
  WHORL_RESEND_AFTER: '400ms',
  WHORL_SWEEP_AFTER: '1s,2s',
  WHORL_CREATE_LOOKS: '300ms,500ms',
  WHORL_CREATE_TIMEOUT: '5s',
  WHORL_READ_TIMEOUT: '5s',
  WHORL_PUBLISH_TIMEOUT: '5s',
  WHORL_RETRY_MAX: '1s',
};

/** A spindle without roles, and what it takes to run some as processes. All ends with the test. */
export async function fleet(options: SpindleOptions = {}): Promise<Fleet> {
  const whorl = await spindle({ ...options, roles: [], ready: false });
  const members: Member[] = [];
  const links: Record<'webhooks' | 'public', Link> = {
    webhooks: await linked({ name: 'webhooks', protocol: 'tcp' }),
    public: await linked({ name: 'public', protocol: 'tcp' }),
  };
  const webhooks = `http://127.0.0.1:${links.webhooks.port}`;
  whorl.ci.webhook({ url: `${webhooks}/webhooks/buildkite`, mode: 'signature', secret, events: buildEvents });
  await pinRepo(whorl.sql, { knot: whorl.knot.host, ...repo });
  const lead = (): void => {
    const alive = members.filter(({ child }) => child.exitCode === null && child.signalCode === null);
    const to = (role: RoleName): string[] => alive.filter((one) => one.role === role).map(({ url }) => url.slice(7));
    links.webhooks.to(...to('ingest'));
    links.public.to(...to('server'));
  };
  const face = `http://127.0.0.1:${links.public.port}`;
  const appview = startAppview({
    spindleUrl: face.replace('http', 'ws'),
    pipelinesFrom: () => true,
    redialMs: 200,
    maxRedialMs: 500,
  });
  onTestFinished(() => appview.close());
  return {
    whorl,
    appview,
    members,
    face,
    webhooks,
    async start(role, env = {}, root = path.join(import.meta.dirname, '../..')) {
      const given = { ...roleEnv(whorl), ...options.env, ...env };
      const started = await startRoleProcess(role, given, { root, onExit: lead, quiet: true });
      const ready = started.log.find(({ msg }) => msg === `${role} is ready`);
      const member = { ...started, role, url: String(ready?.[places[role]]) };
      members.push(member);
      lead();
      return member;
    },
  };
}

const places: Record<RoleName, string> = { ingest: 'webhooks', worker: 'health', server: 'server' };

/** What every role of a spindle is told. */
export const roleEnv = ({ databaseUrl, config, ci }: Spindle): Record<string, string> => ({
  ...hasty,
  WHORL_DATABASE_URL: databaseUrl,
  WHORL_TASK_QUEUE: config.taskQueue,
  WHORL_EVENTS_REWIND: '5s',
  WHORL_BUILDKITE_TOKEN: ci.token,
  WHORL_BUILDKITE_ORG: 'acme',
  WHORL_BUILDKITE_RATE: '10000',
  WHORL_BUILDKITE_API_URL: ci.apiUrl,
  WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
  WHORL_BUILDKITE_WEBHOOK_MODE: 'signature',
  TEMPORAL_NAMESPACE: inject('temporalNamespace'),
});
