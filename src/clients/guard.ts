import dns from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * Keeps connections to hosts that strangers name away from what only we can reach. The one place is the address that a
 * socket is about to connect to: a name is judged by what it resolves to in that moment (`lookup`), and an address that
 * stands in the URL itself, for which nothing is looked up, by `check`. Both are needed for every connection.
 */
export interface Guard {
  /** Throws `RefusedAddress` for an address that is refused; a name passes, `lookup` judges it. */
  check(hostname: string): void;
  /** For the `lookup` of a socket: gives allowed addresses only, and fails when there are none. */
  lookup: LookupFunction;
}

export class RefusedAddress extends Error {
  override name = 'RefusedAddress';
}

export interface GuardOptions {
  /** Everything is allowed: services run on this machine. */
  dev: boolean;
  /** Whether the host was named by the operator, who may mean a private one; asked at each connection. Default never. */
  vouched?: (() => boolean) | undefined;
  /** Default: the operating system's. */
  resolve?: typeof dns.lookup | undefined;
}

export function addressGuard({ dev, vouched = () => false, resolve = dns.lookup }: GuardOptions): Guard {
  const isAllowed = (address: string): boolean => dev || vouched() || isPublic(address);
  return {
    check(hostname) {
      const address = unbracketed(hostname);
      if (isIP(address) !== 0 && !isAllowed(address)) {
        throw new RefusedAddress(`${address} is not a public address: no host outside is called there`);
      }
    },

    lookup(hostname, { all, ...options }, callback) {
      resolve(hostname, { ...options, all: true }, (error, found) => {
        if (error) return callback(error, []);
        const allowed = found.filter(({ address }) => isAllowed(address));
        const [first] = allowed;
        if (!first) {
          const addresses = found.map(({ address }) => address).join(', ') || 'nothing';
          return callback(new RefusedAddress(`${hostname} leads to ${addresses}, which is not a public address`), []);
        }
        if (all) callback(null, allowed);
        else callback(null, first.address, first.family);
      });
    },
  };
}

/** Azure answers every machine of its own here, with the machine's secrets; the address looks public. */
const azure = '168.63.129.16';

/** Whether an address belongs to the public internet. IPv4 inside of IPv6 counts as what it is. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (parsed instanceof ipaddr.IPv4) return parsed.range() === 'unicast' && parsed.toString() !== azure;
  const range = parsed.range();
  const bytes = parsed.toByteArray();
  if (range === '6to4') return isPublic(bytes.slice(2, 6).join('.'));
  // NAT64: the well-known prefix only; what a network uses for itself, it may map to anything
  if (range === 'rfc6052') return parsed.match(nat64) && isPublic(bytes.slice(12).join('.'));
  return range === 'unicast' && parsed.match(globalUnicast);
}

const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');
/** all that is given out to the public (IANA); what is called unicast beyond it is not routed */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/** as URLs write IPv6 */
function unbracketed(hostname: string): string {
  return hostname.startsWith('[') && hostname.endsWith(']') ? hostname.slice(1, -1) : hostname;
}
