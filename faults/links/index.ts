import type { Link, OpenLink, Point, Protocol } from '../contract.ts';
import { type Arms, createArms } from './arms.ts';
import { openGrpc } from './grpc.ts';
import { httpTap } from './http.ts';
import type { OpenTap } from './pair.ts';
import { postgresTap } from './postgres.ts';
import { openRelay } from './relay.ts';

const points: Record<Protocol, readonly Point['what'][]> = {
  tcp: [],
  postgres: ['write', 'commit'],
  http: ['call'],
  grpc: ['call'],
};

const tapOf = (protocol: Protocol, arms: Arms): OpenTap | undefined => {
  if (protocol === 'postgres') return postgresTap(arms);
  if (protocol === 'http') return httpTap(arms);
  return undefined;
};

/** A proxy on a port of its own of 127.0.0.1, in this process. */
export const openLink: OpenLink = async ({ name, protocol, to = [] }): Promise<Link> => {
  const arms = createArms(name, points[protocol]);
  const relay = protocol === 'grpc' ? await openGrpc(arms, to) : await openRelay({ to, tap: tapOf(protocol, arms) });
  return {
    name,
    port: relay.port,
    get open() {
      return relay.open;
    },
    to: relay.to,
    cut: relay.cut,
    refuse: relay.refuse,
    halfOpen: relay.halfOpen,
    delay: relay.delay,
    slow: relay.slow,
    mend: relay.mend,
    arm: arms.arm,
    async close() {
      arms.disarm();
      await relay.close();
    },
  };
};
