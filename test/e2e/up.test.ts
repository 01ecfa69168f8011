import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { startAppview } from '../../sim/appview/appview.ts';
import { startKnot } from '../../sim/knot/knot.ts';
import { type RoleProcess, startRoleProcess } from '../support/role-process.ts';
import { repo } from '../support/spindle.ts';
import { until } from '../support/until.ts';

const whorl = path.join(import.meta.dirname, '../../src/main.ts');

/** The processes whose command line holds this text. */
async function processesWith(text: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'args']);
  return stdout.split('\n').filter((line) => line.includes(text));
}

const linkOf = ({ log }: RoleProcess, name: string): string =>
  String(log.find(({ msg }) => msg === 'whorl is up')?.[name]);

test('whorl up brings its own PostgreSQL and Temporal, keeps what it knows, and leaves nothing running', async () => {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-up-'));
  await chmod(dir, 0o755);
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const knot = await startKnot();
  onTestFinished(() => knot.close());
  const env = {
    WHORL_DATA_DIR: dir,
    TEMPORAL_ADDRESS: '',
    WHORL_RESEND_AFTER: '300ms',
    WHORL_FAKE_POLL: '100ms',
    WHORL_EVENTS_REWIND: '0s',
  };

  const first = await startRoleProcess('up', env);
  const tool = (...args: string[]) =>
    promisify(execFile)(process.execPath, [whorl, ...args], {
      env: { PATH: process.env['PATH'], WHORL_DATA_DIR: dir },
    });
  expect((await fetch(linkOf(first, 'webhooks').replace('/webhooks/buildkite', '/healthz'))).status).toBe(200);
  const ready = await fetch(linkOf(first, 'webhooks').replace('/webhooks/buildkite', '/readyz'));
  expect({ status: ready.status, body: await ready.json() }).toMatchObject({
    status: 200,
    body: { checks: { database: { ok: true }, temporal: { ok: true } } },
  });

  await tool('repos', 'pin', knot.host, `${repo.did}/${repo.name}`);
  await knot.connected(1);
  const appview = startAppview({ spindleUrl: linkOf(first, 'events'), pipelinesFrom: () => true, redialMs: 100 });
  onTestFinished(() => appview.close());
  await appview.connected();
  const { rkey } = knot.push({ repo, workflows: [{ name: 'ci.yml', raw: 'tack: {fake: {delay: 100ms}}' }] });
  await appview.wait(knot.host, rkey, (view) => view.jobs['ci.yml']?.status === 'success', 20_000);
  const shown = await tool('show', `${knot.host}/${rkey}`);
  expect(shown.stdout).toMatch(/ci\.yml.*success/);

  first.signal('SIGTERM');
  expect(await first.exited()).toBe(0);
  await until('its services are gone', async () => (await processesWith(dir)).length === 0);

  const second = await startRoleProcess('up', env);
  expect((await tool('repos', 'list')).stdout).toContain(repo.name);
  expect((await tool('show', `${knot.host}/${rkey}`)).stdout).toMatch(/ci\.yml.*success/);
  second.signal('SIGKILL');
  await second.exited();
  await until('its services are gone after SIGKILL too', async () => (await processesWith(dir)).length === 0);
}, 120_000);
