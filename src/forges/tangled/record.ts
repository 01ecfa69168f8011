import { isClean, isDid, isHost, isRecordKey } from './names.ts';
import { NSID } from './nsid.ts';
import { quote } from './quote.ts';

/** The owner of a spindle lets somebody use it. */
export type MemberValue = {
  subject: string;
  /** the host of the spindle, lower-cased */
  instance: string;
};

export type RepoValue = {
  /** the host of the knot that it lives on, lower-cased */
  knot: string;
  name: string;
  /** what its owner chose to run CI, lower-cased: a host, or with newer peers a DID; null when there is none */
  spindle: string | null;
  /** the repository's own DID (generation B) */
  repoDid?: string;
};

/** The owner of a repo lets somebody work in it. */
export type CollaboratorValue = {
  subject: string;
  /** the AT-URI of the repo's record, or the repo's own DID (generation B) */
  repo: string;
};

/** The fields of a record that count. */
export type RecordValue = MemberValue | RepoValue | CollaboratorValue;

/** The records that say who may run what. */
export const recordCollections = [NSID.member, NSID.repo, NSID.collaborator] as const;
export type RecordCollection = (typeof recordCollections)[number];

export const isRecordCollection = (collection: string): collection is RecordCollection =>
  recordCollections.some((each) => each === collection);

type Parsed<T> = { value: T } | { problem: string };
type Fields = Record<string, unknown>;

/**
 * Reads a record as the network shows it. `$type` may be anything, and what we can do without counts as absent when it
 * is not of the wanted type; the rest must have its form, since it ends in keys, URLs and comparisons.
 */
export function parseRecord(collection: typeof NSID.member, rkey: string, record: unknown): Parsed<MemberValue>;
export function parseRecord(collection: typeof NSID.repo, rkey: string, record: unknown): Parsed<RepoValue>;
export function parseRecord(
  collection: typeof NSID.collaborator,
  rkey: string,
  record: unknown,
): Parsed<CollaboratorValue>;
export function parseRecord(collection: string, rkey: string, record: unknown): Parsed<RecordValue>;
export function parseRecord(collection: string, rkey: string, record: unknown): Parsed<RecordValue> {
  if (!isRecordCollection(collection)) return { problem: `nobody here reads records of ${quote(collection)}` };
  if (!isRecordKey(rkey)) return { problem: `its key ${quote(rkey)} is not a record key` };
  if (typeof record !== 'object' || record === null || Array.isArray(record)) {
    return { problem: 'it is not a JSON object' };
  }
  return readers[collection]({ ...record }, rkey);
}

const readers: Record<RecordCollection, (record: Fields, rkey: string) => Parsed<RecordValue>> = {
  [NSID.member]: readMember,
  [NSID.repo]: readRepo,
  [NSID.collaborator]: readCollaborator,
};

function readMember(record: Fields): Parsed<MemberValue> {
  const subject = textOf(record['subject']);
  const instance = hostOf(record['instance']);
  if (!isDid(subject)) return { problem: `its subject ${shown(record['subject'])} is not a DID` };
  if (!isHost(instance)) return { problem: `its instance ${shown(record['instance'])} is not a host` };
  return { value: { subject, instance } };
}

function readRepo(record: Fields, rkey: string): Parsed<RepoValue> {
  const knot = hostOf(record['knot']);
  // newer peers leave the name away: the key is the name then
  const name = (record['name'] ?? '') === '' ? rkey : record['name'];
  const spindle = hostOf(record['spindle']);
  const repoDid = textOf(record['repoDid']);
  if (!isHost(knot)) return { problem: `its knot ${shown(record['knot'])} is not a host` };
  if (typeof name !== 'string' || !isClean(name, 256)) {
    return { problem: `its name ${shown(name)} is not one: it must be text of at most 256 characters` };
  }
  return {
    value: {
      knot,
      name,
      spindle: isClean(spindle, 512) ? spindle : null,
      ...(isDid(repoDid) ? { repoDid } : {}),
    },
  };
}

function readCollaborator(record: Fields): Parsed<CollaboratorValue> {
  const subject = textOf(record['subject']);
  const repo = textOf(record['repo']);
  if (!isDid(subject)) return { problem: `its subject ${shown(record['subject'])} is not a DID` };
  if (!isDid(repo) && !isRecordUri(repo)) {
    return { problem: `its repo ${shown(record['repo'])} is neither an at-uri of a repo nor a DID` };
  }
  return { value: { subject, repo } };
}

function isRecordUri(text: string): boolean {
  const [, did = '', rkey = ''] = /^at:\/\/([^/]+)\/sh\.tangled\.repo\/([^/]+)$/.exec(text) ?? [];
  return isDid(did) && isRecordKey(rkey);
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value.trim() : '');

/** Hosts are the same in any case. */
const hostOf = (value: unknown): string => textOf(value).toLowerCase();

/** What a message shows of a field: never all of what may be a large value. */
function shown(value: unknown): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? '(a list)' : '(an object)';
  return String(value);
}
