import { expect, test, vi } from 'vitest';
import { startDns } from '../support/dns-server.ts';
import { buildOf, isParked, ownSpindle } from '../support/pipelines.ts';
import { buildkiteFile, repo } from '../support/spindle.ts';

vi.setConfig({ testTimeout: 60_000 });

test('a repository that the allow-list names by its handle runs when the handle is really its own', async (context) => {
  const dns = await startDns({ '_atproto.alice.test': ['did=did:plc:z72i7hdynmk6r22z27h6tvur'] });
  const whorl = await ownSpindle(context, {
    network: true,
    env: { WHORL_BUILDKITE_ALLOW: `Alice.test/${repo.name} -> acme/app` },
  });
  whorl.network.network.account({ did: repo.did, handle: 'alice.test' });

  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  expect((await isParked(pushed)).parked).toContain(
    'alice.test, which is the handle of did:plc:z72i7hdynmk6r22z27h6tvur',
  );
  expect(whorl.ci.builds()).toEqual([]);

  dns.records.set('_atproto.alice.test', [`did=${repo.did}`]);
  await whorl.command('retry', pushed.id);
  const next = whorl.push({ 'ci.yml': buildkiteFile() });
  for (const each of [pushed, next]) {
    whorl.ci.finish((await buildOf(whorl, each)).id, 'passed');
    await each.shows('ci.yml', 'success');
  }
  expect(dns.asked).toEqual(['_atproto.alice.test', '_atproto.alice.test']);
});
