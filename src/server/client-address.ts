import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import { isPublic } from '../clients/guard.ts';

/** The address that a request counts for; undefined when nobody can say: then no limit of one address applies. */
export type ClientAddress = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined;

type Ip = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * Who asks. Without trusted proxies it is the other end of the socket; one that is not public may be a proxy of our own,
 * behind which everybody is, so it is nobody. With them it is the last of `X-Forwarded-For` that is not a trusted proxy
 * itself: what stands before that, anybody may have written there. IPv6 counts by its network of 64 bits, which one
 * customer has all of.
 * @param trusted addresses and networks (`10.0.0.0/8`)
 */
export function clientAddress(trusted: readonly string[]): ClientAddress {
  const networks = trusted.map(networkOf);
  const isTrusted = (address: Ip): boolean =>
    networks.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits));

  return ({ headers, socket }) => {
    const remote = parsed(socket.remoteAddress ?? '');
    if (!remote) return undefined;
    if (networks.length === 0) return isPublic(remote.toString()) ? keyOf(remote) : undefined;
    let address = remote;
    const named = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
    for (let hop = named.pop(); hop !== undefined && isTrusted(address); hop = named.pop()) {
      const before = parsed(hop.trim());
      if (!before) break;
      address = before;
    }
    return keyOf(address);
  };
}

/** An address alone is a network of one. Throws for what is neither. */
export function networkOf(text: string): [Ip, number] {
  if (text.includes('/')) {
    const [network, bits] = ipaddr.parseCIDR(text);
    return [network, bits];
  }
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/** IPv4 inside of IPv6 is IPv4. Some proxies write the port too. */
function parsed(text: string): Ip | undefined {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
  // an address of four numbers only: the library also reads what people never write
  if (!(ipaddr.IPv4.isValidFourPartDecimal(bare) || ipaddr.IPv6.isValid(bare))) return undefined;
  return ipaddr.process(bare);
}

const keyOf = (address: Ip): string =>
  address instanceof ipaddr.IPv4
    ? address.toString()
    : `${new ipaddr.IPv6([...address.toByteArray().slice(0, 8), ...Array<number>(8).fill(0)]).toString()}/64`;
