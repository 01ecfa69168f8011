import ipaddr from 'ipaddr.js';
import { z } from 'zod';

/** How a value is written, and how it is read. The schema's message continues the sentence `WHORL_NAME …`. */
export interface Form<T> {
  readonly label: string;
  readonly schema: z.ZodType<T, string>;
}

/** A host and port to listen on. The host is empty for "every interface", which Node takes as it is. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A form made of a reader that returns undefined for what it does not take. */
export function form<T>(label: string, wrong: string, read: (text: string) => T | undefined): Form<T> {
  const schema = z
    .string()
    .trim()
    .transform((text, context): T => {
      const value = read(text);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: wrong });
      return z.NEVER;
    });
  return { label, schema };
}

const matching = (label: string, wrong: string, pattern: RegExp): Form<string> =>
  form(label, wrong, (text) => (pattern.test(text) ? text : undefined));

export const text = matching('text', 'must not be empty', /\S/);

export const word = matching('text', 'must be one word without spaces or line breaks', /^\S+$/);

export const flag = form('`true` or `false`', 'must be true or false', (text) => {
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  return undefined;
});

/** tack reads its switches so: anything but an empty value is on, `0` and `false` too. */
export const anyText: Form<boolean> = { label: 'any text', schema: z.string().transform(() => true) };

export function oneOf<const T extends string>(...words: T[]): Form<T> {
  const label = words.map((each) => `\`${each}\``).join(', ');
  return form(label, `must be one of ${words.join(', ')}`, (text) => words.find((each) => each === text.toLowerCase()));
}

export function wholeNumber(min: number, max: number): Form<number> {
  return form(`whole number, ${min} to ${max}`, `must be a whole number from ${min} to ${max}`, (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    return number >= min && number <= max ? number : undefined;
  });
}

export const host = form('host, with a port if it has one', 'must be a host without scheme or path', (text) => {
  const parts = /^([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::(\d{1,5}))?$/.exec(text.toLowerCase());
  if (!parts) return undefined;
  return parts[2] === undefined || isPort(Number(parts[2])) ? parts[0] : undefined;
});

/** did:plc is 24 letters of base32; did:web in atproto is a host only, its port written `%3A8080`. */
export const did = matching(
  'DID',
  'must be a did:plc or did:web',
  /^did:(plc:[a-z2-7]{24}|web:[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*(%3A\d{1,5})?)$/,
);

export const address = form(
  'address',
  'must be a port with a colon before it, or a host and a port (IPv6 in brackets)',
  (text): Address | undefined => {
    const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]*)):(\d{1,5})$/.exec(text);
    const port = Number(parts?.[3]);
    return parts && (port === 0 || isPort(port)) ? { host: parts[1] ?? parts[2] ?? '', port } : undefined;
  },
);

export const httpUrl = form(
  'URL',
  'must be an http:// or https:// URL without user name, query or fragment',
  (text) => {
    if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
    const url = new URL(text);
    if (url.username || url.password || url.search || url.hash) return undefined;
    return url.href.replace(/\/+$/, '');
  },
);

/** Where streams are; none for `off`. */
export const webSocketUrls = form(
  'URL, several URLs with commas between, or `off`',
  'must be ws:// or wss:// URLs without user name, query or fragment, with commas between, or off',
  (text): string[] | undefined => {
    if (/^off$/i.test(text)) return [];
    const urls = text.split(',').map((part) => part.trim());
    return urls.every(isWebSocketUrl) ? urls : undefined;
  },
);

function isWebSocketUrl(text: string): boolean {
  if (!/^wss?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password, search, hash } = new URL(text);
  return !username && !password && !search && !hash;
}

/** One host of a list is enough to check the rest of the URL; postgres.js takes several, the URL parser does not. */
export const postgresUrl = form(
  'URL',
  'must be a postgres:// URL, with special characters of the password percent-encoded',
  (text) => {
    const at = text.lastIndexOf('@') + 1;
    const oneHost = text.slice(0, at) + text.slice(at).replace(/,[^/?]*/, '');
    return /^postgres(ql)?:\/\/./.test(text) && URL.canParse(oneHost) ? text : undefined;
  },
);

/** The URL without its password, and without its query, where a password may stand too. */
export function hidePassword(url: string): string {
  const [before = '', ...query] = url.trim().split(/[?#]/);
  return before.replace(/^([a-z]+:\/\/[^:/@]*):.*@/s, '$1:••••@') + (query.length > 0 ? '?…' : '');
}

export const networks = form(
  'addresses or networks, with commas between',
  'must be IP addresses or networks such as 10.0.0.0/8, with commas between',
  (text): string[] | undefined => {
    const parts = text.split(',').map((part) => part.trim());
    return parts.every((part) => ipaddr.isValidCIDR(part) || isAddress(part)) ? parts : undefined;
  },
);

/** The library reads short forms of IPv4 too, which nobody means. */
const isAddress = (text: string): boolean =>
  ipaddr.IPv4.isValidFourPartDecimal(text) || (ipaddr.IPv6.isValid(text) && !text.includes('%'));

const oneOrTwo = (parts: string[]): string[] | undefined =>
  parts.length <= 2 && parts.every((part) => /^\S+$/.test(part)) ? parts : undefined;

export const secretPair = form(
  'one secret, or two with a comma between',
  'must be one or two values, with a comma between',
  (text) => oneOrTwo(text.split(',').map((part) => part.trim())),
);

/** tack knows no rotation, so a comma is part of its secret. */
export const oneSecret = form('one secret', 'must be one word without spaces or line breaks', (text) =>
  oneOrTwo([text]),
);

const isPort = (port: number): boolean => port >= 1 && port <= 65_535;
