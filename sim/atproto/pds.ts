import { z } from 'zod';
import { cidOf } from './cid.ts';
import type { Answer } from './faults.ts';
import { type Account, commitCid, type Network } from './network.ts';
import { didDocument } from './plc.ts';
import type { Entry, Repo } from './repo.ts';
import { type Handler, type ServerOptions, startServer } from './server.ts';
import { procedures } from './procedures.ts';

export interface PdsOptions extends ServerOptions {
  /** the name by which accounts live here (`network.account({ pds })`, `network.migrate`); default `pds` */
  name?: string;
  /** what DID documents say; default `http://127.0.0.1:PORT` */
  publicUrl?: string;
  /** what `describeServer` says of itself; default `pds.test` */
  domain?: string;
}

export type PdsSim = Awaited<ReturnType<typeof startPds>>;

/** An XRPC error. */
export class XrpcError extends Error {
  readonly status: number;
  readonly error: string;

  constructor(error: string, message: string, status = 400) {
    super(message);
    this.error = error;
    this.status = status;
  }
}

/**
 * Starts a PDS that shows the accounts of the network which live on it. Routes, for faults and the log: `listRecords`,
 * `getRecord`, `describeRepo`, `getLatestCommit`, `describeServer`, `resolveHandle`, `atproto-did`; and without any
 * authentication the procedures of `procedures.ts`.
 */
export async function startPds(network: Network, options: PdsOptions = {}) {
  const { name = 'pds', domain = 'pds.test' } = options;

  /** An account that this PDS serves now. */
  const here = (repo: string): Account | undefined => {
    const account = network.find(repo.startsWith('did:') ? repo : (network.didOf(repo) ?? ''));
    return account?.pds === name && account.status === 'active' ? account : undefined;
  };
  const repoNamed = (query: URLSearchParams): Account => {
    const repo = needed(query, 'repo');
    const account = here(repo);
    if (!account) throw new XrpcError('InvalidRequest', `Could not find repo: ${repo}`);
    return account;
  };
  const repoOf = ({ did }: Account, asOf: string | undefined): Repo => {
    const repo = network.repoOf(did);
    return asOf === undefined ? repo : repo.asOf(asOf);
  };
  const shown = (did: string, collection: string, { rkey, record }: Entry) => ({
    uri: `at://${did}/${collection}/${rkey}`,
    cid: cidOf(record),
    value: record,
  });

  const queries: Record<string, (query: URLSearchParams, asOf: string | undefined) => unknown> = {
    'com.atproto.repo.listRecords': (query, asOf) => {
      const account = repoNamed(query);
      const collection = needed(query, 'collection');
      const limit = whole(query, 'limit', 50, 1, 100);
      const reverse = query.get('reverse') === 'true';
      const page = repoOf(account, asOf).page(collection, { limit, reverse, cursor: query.get('cursor') || undefined });
      // a real one gives a cursor with every page that has records, also with the last
      const cursor = page.at(-1)?.rkey;
      const records = page.map((entry) => shown(account.did, collection, entry));
      return { records, ...(cursor !== undefined && { cursor }) };
    },
    'com.atproto.repo.getRecord': (query, asOf) => {
      const repo = needed(query, 'repo');
      const [collection, rkey] = [needed(query, 'collection'), needed(query, 'rkey')];
      const account = here(repo);
      const entry = account && repoOf(account, asOf).get(collection, rkey);
      const record = account && entry && shown(account.did, collection, entry);
      if (!record || (query.has('cid') && query.get('cid') !== record.cid)) {
        throw new XrpcError('RecordNotFound', `Could not locate record: at://${repo}/${collection}/${rkey}`);
      }
      return record;
    },
    'com.atproto.repo.describeRepo': (query, asOf) => {
      const account = repoNamed(query);
      const { did, handle } = account;
      const collections = repoOf(account, asOf).collections();
      return { handle, did, didDoc: didDocument(network, did), collections, handleIsCorrect: true };
    },
    'com.atproto.sync.getLatestCommit': (query, asOf) => {
      const did = needed(query, 'did');
      const account = network.find(did);
      if (!account || account.status === 'deleted' || !(account.pds === name || account.former.includes(name))) {
        throw new XrpcError('RepoNotFound', `Could not find repo for DID: ${did}`);
      }
      const status = account.pds === name ? account.status : 'deactivated';
      if (status === 'takendown') throw new XrpcError('RepoTakendown', `Repo has been takendown: ${did}`);
      if (status === 'suspended') throw new XrpcError('RepoSuspended', `Repo has been suspended: ${did}`);
      if (status === 'deactivated') throw new XrpcError('RepoDeactivated', `Repo has been deactivated: ${did}`);
      const rev = asOf === undefined ? account.rev : (network.repoOf(did).revAt(asOf) ?? asOf);
      return { cid: commitCid(did, rev), rev };
    },
    'com.atproto.server.describeServer': () => ({
      did: `did:web:${domain}`,
      availableUserDomains: [`.${domain}`],
      inviteCodeRequired: false,
      links: {},
      contact: {},
    }),
    'com.atproto.identity.resolveHandle': (query) => {
      const did = network.didOf(needed(query, 'handle'));
      if (did === undefined) throw new XrpcError('InvalidRequest', 'Unable to resolve handle');
      return { did };
    },
  };
  const actions = procedures(network, name);

  const server = await startServer(options, ({ method, url, host, body }): Handler => {
    const { pathname, searchParams } = url;
    if (pathname === '/.well-known/atproto-did') {
      const did = network.didOf(host.split(':')[0] ?? '');
      const found = did !== undefined && here(did) !== undefined;
      return {
        route: 'atproto-did',
        answer: () => ({ status: found ? 200 : 404, body: found ? did : 'User not found' }),
      };
    }
    if (pathname === '/')
      return { route: 'home', answer: () => ({ status: 200, body: `A simulated PDS, ${name}.\n` }) };
    const nsid = pathname.startsWith('/xrpc/') ? pathname.slice('/xrpc/'.length) : '';
    const route = nsid.split('.').at(-1) ?? nsid;
    const answer = (asOf?: string): Answer => {
      const query = queries[nsid];
      const action = actions[nsid];
      try {
        if (query && method === 'GET') return { status: 200, body: query(searchParams, asOf) };
        if (action && method === 'POST') return { status: 200, body: action(body) };
      } catch (error) {
        if (error instanceof XrpcError) return failed(error);
        return failed(new XrpcError('InvalidRequest', reasonOf(error)));
      }
      if (query || action) return failed(new XrpcError('InvalidRequest', `Incorrect HTTP method (${method})`, 405));
      return failed(new XrpcError('MethodNotImplemented', 'Method Not Implemented', 501));
    };
    return { route, answer };
  });
  network.hosts.set(name, options.publicUrl ?? server.url);
  return { ...server, name };
}

const failed = ({ status, error, message }: XrpcError): Answer => ({ status, body: { error, message } });

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) return z.prettifyError(error);
  return error instanceof Error ? error.message : String(error);
}

function needed(query: URLSearchParams, name: string): string {
  const value = query.get(name);
  if (!value) throw new XrpcError('InvalidRequest', `Error: Params must have the property "${name}"`);
  return value;
}

function whole(query: URLSearchParams, name: string, otherwise: number, least: number, most: number): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new XrpcError('InvalidRequest', `Error: ${name} must be an integer`);
  if (value < least) throw new XrpcError('InvalidRequest', `Error: ${name} can not be less than ${least}`);
  if (value > most) throw new XrpcError('InvalidRequest', `Error: ${name} can not be greater than ${most}`);
  return value;
}
