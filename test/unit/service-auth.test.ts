import { createHash } from 'node:crypto';
import { parsePublicMultikey } from '@atcute/crypto';
import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createNetwork, startPlc } from '../../sim/atproto/index.ts';
import { ClientError } from '../../src/clients/error.ts';
import type { SigningKey } from '../../src/clients/identity.ts';
import { addressRate } from '../../src/server/address-rate.ts';
import { serviceAuth } from '../../src/server/auth.ts';
import { callers } from '../../src/server/callers.ts';
import { type Claims, claimsProblem, readToken } from '../../src/server/service-token.ts';
import { XrpcRefusal } from '../../src/server/xrpc-error.ts';
import { readAsked } from '../../src/server/xrpc-input.ts';
import { type Curve, signer } from '../support/service-auth.ts';

const method = 'sh.tangled.ci.cancelPipeline';
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

async function world(curve: Curve = 'p256') {
  const network = createNetwork();
  const { did } = network.account();
  const alice = await signer(network, did, 'did:web:spindle.example', curve);
  const reads: number[] = [];
  const keyOf = async (_did: string, _signal: AbortSignal, maxAgeMs = Infinity): Promise<SigningKey> => {
    reads.push(maxAgeMs);
    return parsePublicMultikey(network.signingKey(did) ?? '');
  };
  const authenticate = serviceAuth({ hostname: 'spindle.example', identity: { keyOf } });
  return { alice, reads, authenticate: (token: string) => authenticate(`Bearer ${token}`, method) };
}

const problemOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof XrpcRefusal ? `${error.refusal.status} ${error.message}` : String(error)),
  );

describe('a token', () => {
  test.each<Curve>(['p256', 'secp256k1'])('of a %s key says who calls', async (curve) => {
    const { alice, authenticate, reads } = await world(curve);
    const caller = await authenticate(await alice.token(method));
    expect(caller).toEqual({
      did: alice.did,
      token: { issuer: alice.did, id: expect.stringMatching(/^[\w-]{43}$/), expiresAt: expect.any(Date) },
    });
    expect(reads).toEqual([Infinity]);
  });

  test('with a wrong signature makes the key be read again, once, if it was not just now', async () => {
    const { alice, authenticate, reads } = await world();
    await alice.forge();
    expect(await problemOf(authenticate(await alice.token(method)))).toMatch(/^403 .*not signed with the key of/);
    expect(reads).toEqual([Infinity, 1_000]);
  });

  test('that is changed in any place does not count', async () => {
    const { alice, authenticate } = await world();
    const token = await alice.token(method);
    const parts = token.split('.');
    for (const [index, part] of parts.entries()) {
      for (const at of [0, Math.floor(part.length / 2), part.length - 3]) {
        const changed = part.split('');
        changed[at] = changed[at] === 'A' ? 'B' : 'A';
        const other = parts.with(index, changed.join(''));
        expect(await problemOf(authenticate(other.join('.')))).toMatch(/^403 signature verification failed: /);
      }
    }
  });

  test('has one id, whichever of its two right signatures it comes with', async () => {
    const { alice, authenticate } = await world();
    const token = await alice.token(method, { claims: { jti: undefined } });
    const [header = '', payload = '', signature = ''] = token.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`);
    const other = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex');
    const twin = [header, payload, Buffer.concat([bytes.subarray(0, 32), other]).toString('base64url')].join('.');
    expect(twin).not.toBe(token);
    const [one, two] = await Promise.all([authenticate(token), authenticate(twin)]);
    expect(one.token.id).toBe(two.token.id);
    expect(one.token.id).toBe(createHash('sha256').update(`signed ${header}.${payload}`).digest('base64url'));
  });

  test.each([
    [undefined, '403 signature verification failed: there is no bearer token'],
    ['Basic abc', '403 signature verification failed: there is no bearer token'],
    ['Bearer', '403 signature verification failed: there is no bearer token'],
    ['Bearer a.b', '403 signature verification failed: it is not a JWT'],
    [`Bearer ${'a'.repeat(9_000)}.b.c`, '403 signature verification failed: it is not a JWT'],
  ])('that is none is refused: %.20s', async (header, problem) => {
    const authenticate = serviceAuth({ hostname: 'x', identity: { keyOf: () => Promise.reject(new Error('asked')) } });
    expect(await problemOf(authenticate(header, method))).toContain(problem);
  });

  test('whose key cannot be had now may come again; one that has none may not', async () => {
    const network = createNetwork();
    const alice = await signer(network, network.account().did, 'did:web:x');
    const answers: [unknown, RegExp][] = [
      [new ClientError('unreachable', 'x could not be reached'), /^503 /],
      [new ClientError('timeout', 'x was late'), /^503 /],
      [new ClientError('status', 'x answered 502', { status: 502 }), /^503 /],
      [new ClientError('status', 'x answered 429', { status: 429 }), /^503 /],
      [new ClientError('status', 'x answered 403', { status: 403 }), /^403 signature verification failed/],
      [new ClientError('garbage', 'x is none'), /^403 signature verification failed/],
      [new ClientError('refused-address', '10.0.0.1 is not public'), /^403 signature verification failed/],
      [new DOMException('late', 'TimeoutError'), /^503 /],
    ];
    for (const [error, problem] of answers) {
      const authenticate = serviceAuth({ hostname: 'x', identity: { keyOf: () => Promise.reject(error) } });
      expect(await problemOf(authenticate(`bearer ${await alice.token(method)}`, method))).toMatch(problem);
    }
  });
});

test.each([true, false])('a did:web of this machine is read in development only (%s)', async (dev) => {
  const network = createNetwork();
  const plc = await startPlc(network);
  const calling = callers({ hostname: 'spindle.example', dev, plcUrl: plc.url });
  onTestFinished(async () => void (await Promise.all([plc.close(), calling.close()])));
  const { did } = network.account({ did: plc.webDid() });
  const alice = await signer(network, did, 'did:web:spindle.example');
  const caller = calling.authenticate(`Bearer ${await alice.token(method)}`, method);
  if (dev) expect((await caller).did).toBe(did);
  else expect(await problemOf(caller)).toMatch(/^403 signature verification failed: .*cannot be had/);
  expect(plc.requests()).toHaveLength(dev ? 1 : 0);
});

const now = 1_800_000_000;
const right: Claims = { iss: 'did:plc:a', aud: 'did:web:spindle.example%3A8443', lxm: method, exp: now + 60, iat: now };
const judge = (changes: Partial<Claims>) =>
  claimsProblem({ ...right, ...changes }, { host: 'spindle.example:8443', method, now });

test.each<[string, Partial<Claims>]>([
  ['as it is', {}],
  ['a port with a colon', { aud: 'did:web:spindle.example:8443' }],
  ['a port in small letters', { aud: 'did:web:spindle.example%3a8443' }],
  ['the service', { aud: 'did:web:spindle.example%3A8443#tangled_spindle' }],
  ['a colon and the service', { aud: 'did:web:spindle.example:8443#tangled_spindle' }],
  ['capitals', { aud: 'did:web:Spindle.Example%3A8443' }],
  ['no time of making', { iat: undefined }],
  ['a clock a little behind', { exp: now - 4, iat: now - 64 }],
  ['a clock a little ahead', { iat: now + 4, nbf: now + 4 }],
  ['an hour', { exp: now + 3_600 }],
])('claims count: %s', (_what, changes) => expect(judge(changes)).toBeUndefined());

test.each<[string, Partial<Claims>, RegExp]>([
  ['another host', { aud: 'did:web:spindle.example' }, /aud/],
  ['another method', { aud: 'did:plc:spindle.example:8443' }, /aud/],
  ['another service', { aud: 'did:web:spindle.example:8443#atproto_pds' }, /aud/],
  ['two services', { aud: 'did:web:spindle.example:8443#tangled_spindle#x' }, /aud/],
  ['a path', { aud: 'did:web:spindle.example:8443:x' }, /aud/],
  ['another lxm', { lxm: 'sh.tangled.owner' }, /lxm/],
  ['expired', { exp: now - 6 }, /expired/],
  ['too long', { exp: now + 3_700 }, /60 minutes/],
  ['from the future', { iat: now + 6, exp: now + 60 }, /future/],
  ['before it was made', { iat: now + 4, exp: now + 3 }, /before it was made/],
  ['not yet', { nbf: now + 10 }, /nbf/],
])('claims do not count: %s', (_what, changes, problem) => expect(judge(changes)).toMatch(problem));

test('no text makes the reader of tokens throw', () => {
  const part = fc.oneof(
    fc.string(),
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value)).toString('base64url')),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(part, { maxLength: 4 }).map((parts) => parts.join('.')),
      ),
      (text) => {
        const read = readToken(text);
        if (!read.ok) expect(read.problem).toMatch(/^it/);
      },
    ),
    { numRuns: 500 },
  );
});

test('no input makes the reader of calls do anything but give what it is, or refuse', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'did:plc:a',
      'at://did:plc:a/sh.tangled.repo/x',
      '3aaaaaaaaaaaa',
      'at://did:web:k%3A1/sh.tangled.pipeline/x',
    ),
  );
  const input = fc.oneof(
    fc.jsonValue(),
    fc.record({ repo: word, pipeline: word, workflow: word }, { requiredKeys: [] }),
  );
  fc.assert(
    fc.property(input, (value) => {
      try {
        expect(readAsked(value).pipeline.rkey).toMatch(/^[\w.:~-]+$/);
      } catch (error) {
        if (!(error instanceof XrpcRefusal)) throw error;
        expect(error.refusal).toMatchObject({ status: 400, error: 'InvalidRequest' });
      }
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['at://did:web:knot.example/sh.tangled.pipeline/3a', { knot: 'knot.example', rkey: '3a' }],
  ['at://did:web:Knot.Example%3A5555/sh.tangled.pipeline/3a', { knot: 'knot.example:5555', rkey: '3a' }],
  ['at://did:web:localhost:5555/sh.tangled.pipeline/3a', { knot: 'localhost:5555', rkey: '3a' }],
  ['at://did:web:spindle.example/sh.tangled.ci.pipeline/3a', { rkey: '3a' }],
  ['3a', { rkey: '3a' }],
])('a pipeline is named %s', (pipeline, read) => {
  expect(readAsked({ repo: 'did:plc:a', pipeline })).toEqual({ repo: { repoDid: 'did:plc:a' }, pipeline: read });
});

test('whoever calls too often is told when to come back, and too many at once are told so too', () => {
  const rate = addressRate({ perMinute: 2, atOnce: 3, trustedProxies: ['127.0.0.1'] });
  const from = (address: string) =>
    rate.take({ headers: { 'x-forwarded-for': address }, socket: { remoteAddress: '127.0.0.1' } } as never);
  const [one, two, three] = [from('198.51.100.1'), from('198.51.100.1'), from('198.51.100.1')];
  expect([one, two].map((place) => 'done' in place)).toEqual([true, true]);
  expect(three).toEqual({ status: 429, retryAfter: 60 });
  expect('done' in from('198.51.100.2')).toBe(true);
  expect(from('198.51.100.3')).toEqual({ status: 503, retryAfter: 5 });
  if ('done' in one) {
    one.done();
    one.done();
  }
  expect('done' in from('198.51.100.4')).toBe(true);
  expect(from('198.51.100.5')).toEqual({ status: 503, retryAfter: 5 });
});
