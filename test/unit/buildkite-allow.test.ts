import { expect, test } from 'vitest';
import { AccountInactive, ClientError } from '../../src/clients/error.ts';
import { checkAllowed, type Names } from '../../src/providers/buildkite/allow.ts';

const { signal } = new AbortController();
const rule = (repo: string, target: string) => ({ repo, target });
const alice = 'did:plc:alice';
const rules = [rule('alice.example/app', 'acme/app'), rule('carol.example/*', 'acme/other')];
type Said = string | undefined | Error;
/** What the directory says of alice, and whose the handles are. */
const namesOf = (handle: Said, holders: Record<string, Said> = {}) => {
  const asked: string[] = [];
  const forgotten: string[] = [];
  const say = (name: string, said: Said): Promise<string | undefined> => {
    asked.push(name);
    return said instanceof Error ? Promise.reject(said) : Promise.resolve(said);
  };
  return {
    asked,
    forgotten,
    handleOf: (did: string) => say(did, handle),
    didOf: (name: string) => say(name, holders[name]),
    forget: (name: string) => void forgotten.push(name),
  };
};
const check = (names: Names, given = rules) =>
  checkAllowed({ rules: given, names }, { did: alice, name: 'app' }, { org: 'acme', pipeline: 'app' }, signal);

test('knows a repository by the handle that its account really has', async () => {
  const names = namesOf('alice.example', { 'alice.example': alice });
  await expect(check(names)).resolves.toBeUndefined();
  expect(names.asked).toEqual([alice, 'alice.example']);
});

test.each<[what: string, names: ReturnType<typeof namesOf>, asked: string[], says: RegExp]>([
  [
    'of another account',
    namesOf('alice.example', { 'alice.example': 'did:plc:mallory' }),
    [alice, 'alice.example'],
    /alice\.example, which is the handle of did:plc:mallory/,
  ],
  ['of nobody', namesOf('alice.example'), [alice, 'alice.example'], /the handle of nobody/],
  ['that no rule has', namesOf('bob.example'), [alice], /acme\/app\. Its operator/],
  ['that has a rule for another pipeline', namesOf('carol.example'), [alice], /acme\/app\. Its operator/],
  ['that it has not', namesOf(undefined), [alice], /acme\/app\. Its operator/],
  [
    'of an account that is gone',
    namesOf(new AccountInactive('deleted', 'it was given up')),
    [alice],
    /it was given up/,
  ],
  [
    'that is garbage',
    namesOf('alice.example', { 'alice.example': new ClientError('garbage', 'no DID') }),
    [alice, 'alice.example'],
    /no DID/,
  ],
])('refuses a handle %s, and asks no more than it must', async (_what, names, asked, says) => {
  const message = expect.stringMatching(says) as string;
  await expect(check(names)).rejects.toMatchObject({ failure: 'Forbidden', message });
  expect(names.asked).toEqual(asked);
  expect(names.forgotten).toContain(alice);
});

test.each([
  ['directory', namesOf(new ClientError('unreachable', 'plc could not be reached'))],
  [
    'handle’s host',
    namesOf('alice.example', { 'alice.example': new ClientError('status', 'it answered 503', { status: 503 }) }),
  ],
])('comes back when the %s cannot be asked', async (_what, names) => {
  await expect(check(names)).rejects.toMatchObject({
    failure: 'Transient',
    ambiguous: false,
    message: expect.stringMatching(/cannot be told now: (plc|it answered 503)/),
  });
});

test.each([
  ['the DID is named', [rule('did:plc:alice/*', 'acme/*'), ...rules]],
  ['any repository may', [rule('*/app', 'acme/app'), ...rules]],
])('asks nobody for a handle where %s', async (_what, given) => {
  const names = namesOf(new Error('asked'));
  await expect(check(names, given)).resolves.toBeUndefined();
  expect(names.asked).toEqual([]);
});

test('asks nobody for a handle where only DIDs are named', async () => {
  const names = namesOf(new Error('asked'));
  await expect(check(names, [rule('did:plc:bob/*', 'acme/*')])).rejects.toMatchObject({ failure: 'Forbidden' });
  expect(names.asked).toEqual([]);
});
