import { tidTime } from './tid.ts';

// What stands here also stands in keys, paths, indexes and URLs, so these are strict.

const RECORD_KEY = /^(?!\.{1,2}$)[A-Za-z0-9._:~-]{1,512}$/;
/** atproto knows accounts by these two methods only; 512 characters is more than a `did:web` can fill */
const DID = /^did:(?:plc|web):(?=.{1,504}$)[A-Za-z0-9._:%-]*[A-Za-z0-9._-]$/;
const COLLECTION = /^(?=.{1,317}$)[A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+){2,}$/;
/** host name or IPv4, or IPv6 in brackets, with or without a port; nothing that could lead elsewhere */
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(\d{1,5}))?$/i;

/** The record keys of atproto; anything else could not stand in a URI, a path or a workflow id. */
export const isRecordKey = (text: string): boolean => RECORD_KEY.test(text);

/** The DID of an account. */
export const isDid = (text: string): boolean => DID.test(text);

/** The NSID of a collection. */
export const isCollection = (text: string): boolean => COLLECTION.test(text);

/** The revision of an account's repository: a TID, so that revisions sort as text. */
export const isRev = (text: string): boolean => tidTime(text) !== undefined;

/** `host` or `host:port`, as spindles and knots are named. */
export function isHost(text: string): boolean {
  const match = HOST.exec(text);
  const port = match?.[1] === undefined ? 1 : Number(match[1]);
  return match !== null && port >= 1 && port <= 65_535 && URL.canParse(`wss://${text}/`);
}

/** One word or more that a database takes and a line shows: no control characters, no halves of characters. */
export const isClean = (text: string, maxLength: number): boolean =>
  text.length > 0 && text.length <= maxLength && !/\p{Cc}/u.test(text) && text.isWellFormed();
