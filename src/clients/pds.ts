import * as z from 'zod';
import { isRecordKey, isRev } from '../forges/tangled/names.ts';
import { quote } from '../forges/tangled/quote.ts';
import { AccountInactive, ClientError, type InactiveStatus } from './error.ts';
import type { JsonHttp } from './http.ts';
import type { Pace } from './pace.ts';

export interface ListedRecord {
  rkey: string;
  /** JSON of any shape */
  value: unknown;
}

export interface Page {
  records: ListedRecord[];
  /** Entries of the list that are none. */
  bad: { problem: string; entry: unknown }[];
}

/** The calls to a PDS. `origin` as `Identity` gives it. All throw `AccountInactive` or `ClientError`. */
export interface Pds {
  /** The rev of the account's latest commit. */
  latestRev(origin: string, did: string, signal: AbortSignal): Promise<string>;
  /** All records of a collection, page after page; one page is in memory at a time. */
  listRecords(origin: string, did: string, collection: string, signal: AbortSignal): AsyncGenerator<Page, void>;
}

export interface PdsOptions {
  http: JsonHttp;
  pace: Pace;
  /** Of one collection; default 20,000. */
  maxPages?: number | undefined;
}

const pageSize = 100;
const maxPageBytes = 4 * 1024 * 1024;

const commitAnswer = z.object({ rev: z.string().refine(isRev) });
const pageAnswer = z.object({ cursor: z.string().max(2048).nullish(), records: z.array(z.unknown()) });
const listed = z.object({ uri: z.string(), value: z.unknown() });

export function pdsClient({ http, pace, maxPages = 20_000 }: PdsOptions): Pds {
  const call = async <T>(
    origin: string,
    method: string,
    query: Record<string, string>,
    schema: z.ZodType<T>,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<T> => {
    const url = new URL(`/xrpc/${method}`, origin);
    url.search = new URLSearchParams(query).toString();
    try {
      const answer = await pace.run(origin, signal, () => http.get(url, { maxBytes, signal }));
      const parsed = schema.safeParse(answer);
      if (parsed.success) return parsed.data;
      throw new ClientError('garbage', `the answer of ${url.host} to ${method} is not what it should be`);
    } catch (error) {
      throw error instanceof ClientError ? (inactiveBy(error) ?? error) : error;
    }
  };

  return {
    async latestRev(origin, did, signal) {
      const method = 'com.atproto.sync.getLatestCommit';
      const { rev } = await call(origin, method, { did }, commitAnswer, 64 * 1024, signal);
      return rev;
    },

    async *listRecords(origin, did, collection, signal) {
      const method = 'com.atproto.repo.listRecords';
      const query = { repo: did, collection };
      const seen = loopWatch();
      let limit = pageSize;
      let cursor: string | undefined;
      for (let pages = 0; ; pages++) {
        if (pages >= maxPages) {
          throw new ClientError(
            'garbage',
            `${did} has more than ${maxPages} pages of ${collection}; the rest is not read`,
          );
        }
        const answer = await call(
          origin,
          method,
          { ...query, limit: `${limit}`, ...(cursor === undefined ? {} : { cursor }) },
          pageAnswer,
          maxPageBytes,
          signal,
        ).catch((error: unknown) => {
          if (!(error instanceof ClientError) || error.kind !== 'tooBig' || limit === 1) throw error;
          return undefined;
        });
        // large records: the same place again, with fewer at once
        if (!answer) {
          limit = Math.ceil(limit / 4);
          continue;
        }
        yield pageOf(did, collection, answer.records);
        if (!answer.cursor) return;
        // how some servers say that nothing follows; any other empty page may have more behind it
        if (answer.records.length === 0 && answer.cursor === cursor) return;
        if (seen(answer.cursor)) {
          throw new ClientError('garbage', `the list of ${collection} of ${did} comes back to where it was: no end`);
        }
        cursor = answer.cursor;
      }
    },
  };
}

function pageOf(did: string, collection: string, entries: unknown[]): Page {
  const page: Page = { records: [], bad: [] };
  const prefix = `at://${did}/${collection}/`;
  for (const entry of entries) {
    const parsed = listed.safeParse(entry);
    const uri = parsed.data?.uri ?? '';
    const rkey = uri.slice(prefix.length);
    if (parsed.success && uri.startsWith(prefix) && isRecordKey(rkey)) {
      page.records.push({ rkey, value: parsed.data.value });
    } else {
      page.bad.push({ problem: `its uri ${quote(uri)} is not that of a record in ${prefix}`, entry });
    }
  }
  return page;
}

/** Finds any loop of cursors while it remembers only one of them (Brent). */
function loopWatch(): (cursor: string) => boolean {
  let remembered: string | undefined;
  let [steps, power] = [0, 1];
  return (cursor) => {
    if (cursor === remembered) return true;
    if (++steps === power) [remembered, steps, power] = [cursor, 0, power * 2];
    return false;
  };
}

const inactive: Record<string, InactiveStatus> = {
  RepoNotFound: 'notfound',
  AccountNotFound: 'notfound',
  RepoDeactivated: 'deactivated',
  AccountDeactivated: 'deactivated',
  RepoTakendown: 'takendown',
  AccountTakedown: 'takendown',
  RepoSuspended: 'suspended',
};

function inactiveBy(error: ClientError): AccountInactive | undefined {
  const status = inactive[error.xrpcError ?? ''];
  return status && new AccountInactive(status, error.message);
}
