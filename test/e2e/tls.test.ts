import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { authority } from '../support/certificates.ts';
import { fleet, roleEnv } from '../support/fleet.ts';
import { addPipeline } from '../support/outbox.ts';
import { isParked } from '../support/pipelines.ts';
import { present } from '../../faults/release.ts';
import { buildkiteFile } from '../support/spindle.ts';
import { tlsFrontend } from '../support/tls-frontend.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 240_000 });

const apiKey = 'a-key-of-a-test';

/** A Temporal that only lets in who has a certificate of its authority and the key, and how one is configured for it. */
async function guarded() {
  const ours = authority('a test authority');
  const frontend = await tlsFrontend({
    to: inject('temporalAddress'),
    own: ours.issue('localhost'),
    clientCa: ours.ca,
    apiKey,
  });
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-tls-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(path.join(dir, name), text, { mode: 0o600 });
    return path.join(dir, name);
  };
  const client = ours.issue('whorl');
  const env = {
    TEMPORAL_ADDRESS: frontend.address,
    TEMPORAL_TLS: 'true',
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: await file('ca.pem', ours.ca),
    TEMPORAL_TLS_CLIENT_CERT_PATH: await file('client.pem', client.cert),
    TEMPORAL_TLS_CLIENT_KEY_PATH: await file('client.key', client.key),
    TEMPORAL_API_KEY: apiKey,
  };
  const wrongCa = { ...env, TEMPORAL_TLS_SERVER_CA_CERT_PATH: await file('other.pem', authority('another').ca) };
  return { frontend, env, wrongCa, wrongKey: { ...env, TEMPORAL_API_KEY: 'another-key' } };
}

test('roles and commands reach a Temporal with TLS, certificates and a key by configuration alone', async () => {
  const { frontend, env } = await guarded();
  const all = await fleet({ buildkite: { clock: 'auto', pace: 50, pipelines: ['acme/app'] } });
  await Promise.all([all.start('ingest', env), all.start('worker', env), all.start('server', env)]);
  const pushed = all.whorl.push({ 'ci.yml': buildkiteFile() });
  await until(
    'it is green',
    () => all.appview.view(all.whorl.knot.host, pushed.rkey)?.jobs['ci.yml']?.status === 'success',
    60_000,
  );

  const given = { ...roleEnv(all.whorl), ...env };
  expect(await present.whorl(['migrate', '--check'], given)).toContain('search attributes are there');
  await isParked(all.whorl.push({ 'ci.yml': buildkiteFile('missing') }));
  expect(await present.whorl(['replay'], given)).toContain('1 of 1 replay on this code.');
  expect(new Set(frontend.calls.map(({ authorization }) => authorization))).toEqual(new Set([`Bearer ${apiKey}`]));
  // the client of ingest and commands, and the one inside of workers
  const from = (name: string): boolean => frontend.calls.some(({ agent }) => agent.includes(name));
  expect([from('grpc-node'), from('tonic')]).toEqual([true, true]);
});

test('a wrong authority and a wrong key are told as what they are, by commands, readiness and workers', async () => {
  const { wrongCa, wrongKey } = await guarded();
  const all = await fleet();
  const migrate = (env: Record<string, string>): Promise<string> =>
    present.whorl(['migrate', '--check'], { ...roleEnv(all.whorl), ...env });
  await expect(migrate(wrongCa)).rejects.toThrow(/certificate.*TEMPORAL_TLS/s);
  await expect(migrate(wrongKey)).rejects.toThrow(/unauthorized.*TEMPORAL_\* credentials/s);
  await expect(all.start('worker', wrongCa)).rejects.toThrow('check TEMPORAL_TLS');
  await expect(all.start('worker', wrongKey)).rejects.toThrow('check TEMPORAL_API_KEY');
  for (const [env, advice] of [
    [wrongCa, 'check TEMPORAL_TLS'],
    [wrongKey, 'check TEMPORAL_API_KEY'],
  ] as const) {
    const ingest = await all.start('ingest', env);
    const ready = await fetch(`${ingest.url}/readyz`);
    expect(ready.status).toBe(503);
    expect(JSON.stringify(await ready.json())).toContain(advice);
  }
});

test('doctor, why, restore and replay tell it too', async () => {
  const { wrongCa } = await guarded();
  const { whorl } = await fleet();
  await addPipeline(whorl.sql, 'knot.example', 'abc', ['ci.yml']);
  const says = async (...args: string[]): Promise<string> => {
    const env = { ...roleEnv(whorl), ...wrongCa };
    return present
      .whorl(args, env)
      .catch(({ stdout, stderr }: { stdout: string; stderr: string }) => `${stdout}${stderr}`);
  };
  expect(await says('doctor')).toMatch(/TLS: .*certificate.*TEMPORAL_TLS/s);
  expect(await says('why', 'pipeline/knot.example/abc')).toMatch(/TLS: .*certificate/);
  expect(await says('replay')).toMatch(/TLS: .*certificate.*check TEMPORAL_TLS/s);
  expect(await says('restore', '--dry-run')).toMatch(/TLS: .*certificate.*check TEMPORAL_TLS/s);
});
