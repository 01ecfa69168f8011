import type { FastifyInstance } from 'fastify';
import { answerPreflight, openToBrowsers } from './cors.ts';

export interface Identity {
  /** The name that forges know us by: host, or host:port. */
  hostname: string;
  /** The DID of whoever runs this spindle. */
  owner: string;
  /** Without TLS, on a machine of one's own. */
  dev: boolean;
}

/** In a `did:web` the colon before a port is written `%3A`: a bare one stands for a slash. */
export const spindleDid = (hostname: string): string => `did:web:${hostname.replaceAll(':', '%3A')}`;

/** Lets a PDS pass calls on to us (`atproto-proxy: did:web:<host>#tangled_spindle`). */
export const didDocument = ({ hostname, dev }: Identity) => ({
  '@context': ['https://www.w3.org/ns/did/v1'],
  id: spindleDid(hostname),
  service: [
    {
      id: '#tangled_spindle',
      type: 'TangledSpindle',
      serviceEndpoint: `${dev ? 'http' : 'https'}://${hostname}`,
    },
  ],
});

/** `/.well-known/did.json`. */
export function identityRoutes(app: FastifyInstance, identity: Identity): void {
  const path = '/.well-known/did.json';
  app.get(path, async (_request, reply) => openToBrowsers(reply).send(didDocument(identity)));
  app.options(path, async (request, reply) => answerPreflight(request, reply));
}
