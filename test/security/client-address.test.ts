import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { type Environment, loadConfig } from '../../src/config/index.ts';
import { clientAddress } from '../../src/server/client-address.ts';

function addressOf(trusted: string[], remote: string | undefined, forwarded?: string): string | undefined {
  const request = {
    socket: { remoteAddress: remote },
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
  };
  return clientAddress(trusted)(request as unknown as IncomingMessage);
}

describe('without trusted proxies', () => {
  test.each([
    ['203.0.114.7', '203.0.114.7'],
    ['::ffff:203.0.114.7', '203.0.114.7'],
    ['2a01:4f8:1:2:3:4:5:6', '2a01:4f8:1:2::/64'],
    ['127.0.0.1', undefined],
    ['::1', undefined],
    ['10.1.2.3', undefined],
    ['::ffff:172.17.0.1', undefined],
    ['fd00::1', undefined],
    [undefined, undefined],
  ])('the other end counts, if it is public: %s', (remote, address) => {
    expect(addressOf([], remote)).toBe(address);
    expect(addressOf([], remote, '198.51.100.7')).toBe(address);
  });
});

describe('with trusted proxies', () => {
  const trusted = ['10.0.0.0/8', '127.0.0.1', 'fd00::/8'];
  test.each<[what: string, remote: string, forwarded: string | undefined, address: string]>([
    ['who comes past them is whom it seems', '192.168.0.9', '8.8.8.8', '192.168.0.9'],
    ['the last hop', '10.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['IPv4 inside of IPv6', '::ffff:10.0.0.1', '::ffff:198.51.100.7', '198.51.100.7'],
    ['not what stands before it', '10.0.0.1', '1.1.1.1, 2.2.2.2,198.51.100.7', '198.51.100.7'],
    ['through several proxies', '127.0.0.1', '1.1.1.1, 198.51.100.7, 10.0.0.2, fd00::5', '198.51.100.7'],
    ['proxies alone: the first of them', '127.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['nobody named: the proxy', '127.0.0.1', undefined, '127.0.0.1'],
    ['nobody named: the proxy', '127.0.0.1', '', '127.0.0.1'],
    ['with a port', '127.0.0.1', '198.51.100.7:51234', '198.51.100.7'],
    ['with a port, IPv6', '127.0.0.1', '[2a01:4f8::1]:443', '2a01:4f8::/64'],
    ['a word is no address: the proxy', '127.0.0.1', '198.51.100.7, unknown', '127.0.0.1'],
    ['nor is a number: the proxy', '127.0.0.1', '2130706433', '127.0.0.1'],
    ['one network of IPv6 is one', '127.0.0.1', '2a01:4f8:0:0:aaaa::1', '2a01:4f8::/64'],
  ])('it is %s', (_what, remote, forwarded, address) => {
    expect(addressOf(trusted, remote, forwarded)).toBe(address);
  });

  test('a header of 16 kB is read like any other', () => {
    expect(addressOf(trusted, '127.0.0.1', '1,'.repeat(8_000))).toBe('127.0.0.1');
    expect(addressOf(trusted, '127.0.0.1', `${'10.0.0.1,'.repeat(1_800)}10.0.0.1`)).toBe('10.0.0.1');
  });
});

describe('the setting', () => {
  const load = (env: Environment) =>
    loadConfig({ WHORL_HOSTNAME: 'spindle.example', WHORL_OWNER_DID: 'did:web:owner.example', ...env });

  test('takes addresses and networks', () => {
    const { config } = load({ WHORL_TRUSTED_PROXIES: '10.0.0.0/8, ::1,fd00::/8, 192.0.2.1' });
    expect(config.readers.trustedProxies).toEqual(['10.0.0.0/8', '::1', 'fd00::/8', '192.0.2.1']);
  });

  test.each(['all', '10', '10.0.0.0/33', '127.1', 'proxy.example', '10.0.0.1,', '*', 'fe80::1%eth0'])(
    'takes nothing else: %s',
    (text) => expect(() => load({ WHORL_TRUSTED_PROXIES: text })).toThrow(/WHORL_TRUSTED_PROXIES must be IP addresses/),
  );
});
