import { expect, test } from 'vitest';
import { register } from '../../sim/appview/register.ts';
import { spindle } from '../support/spindle.ts';

test('an appview verifies this spindle for its owner, and for nobody else', async () => {
  const whorl = await spindle({ network: true, roles: ['server'] });
  const { owner, network } = whorl.network;
  expect(await register(whorl.url, owner.did)).toEqual({ ok: true, owner: owner.did });
  expect(await register(`${whorl.url}/`, owner.did)).toMatchObject({ ok: true });
  expect(await register(whorl.url, network.account().did)).toMatchObject({ ok: false, problem: 'mismatch' });
});
