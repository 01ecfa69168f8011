import { randomUUID } from 'node:crypto';
import { P256PrivateKeyExportable, type PrivateKey, Secp256k1PrivateKeyExportable } from '@atcute/crypto';
import type { Network } from '../../sim/atproto/index.ts';

/** Replaces parts of a right token; undefined takes one away. */
export interface TokenChanges {
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
}

export interface Signer {
  did: string;
  /** A token for one call, as the account's PDS gives it. */
  token(lxm: string, changes?: TokenChanges): Promise<string>;
  /** The account has another key from now on; tokens are signed with it. */
  rotate(curve?: Curve): Promise<void>;
  /** The next tokens are signed with a key that nobody knows. */
  forge(): Promise<void>;
}

export type Curve = 'p256' | 'secp256k1';

const newKey = (curve: Curve): Promise<PrivateKey> =>
  curve === 'p256' ? P256PrivateKeyExportable.createKeypair() : Secp256k1PrivateKeyExportable.createKeypair();

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signs for an account of the network, with a key that its DID document shows. */
export async function signer(network: Network, did: string, aud: string, curve: Curve = 'secp256k1'): Promise<Signer> {
  let key: PrivateKey;
  const rotate = async (to: Curve = curve): Promise<void> => {
    key = await newKey(to);
    network.signWith(did, await key.exportPublicKey('multikey'));
  };
  await rotate();
  return {
    did,
    rotate,
    async forge() {
      key = await newKey(curve);
    },
    async token(lxm, { header, claims } = {}) {
      const now = Math.floor(Date.now() / 1_000);
      const right = { iat: now, iss: did, aud, exp: now + 60, lxm, jti: randomUUID() };
      const signed = [
        { typ: 'JWT', alg: key.jwtAlg, ...header },
        { ...right, ...claims },
      ]
        .map(encoded)
        .join('.');
      return `${signed}.${Buffer.from(await key.sign(Buffer.from(signed))).toString('base64url')}`;
    },
  };
}
