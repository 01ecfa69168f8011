import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** PEM. */
  cert: string;
  key: string;
}

/** DER, as much of it as a certificate needs: tag, length, content. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 128) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = Buffer.from(length.toString(16).padStart(length > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length]), bytes, content]);
}

const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const ecdsaSha256 = sequence(oid('2a8648ce3d040302'));
const nameOf = (common: string): Buffer => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(common)))));
const time = (at: Date): Buffer => der(0x18, Buffer.from(`${at.toISOString().replaceAll(/[-:T]|\.\d+/g, '')}`));
const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));

/** A certificate authority for a test. */
export function authority(name: string): { ca: string; issue(common: string): Certificate } {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const identifier = createHash('sha1').update(spki(own.publicKey)).digest();
  const make = (subject: string, key: KeyObject, extensions: Buffer[]): string => {
    const from = new Date(Date.now() - 3_600_000);
    const until = new Date(Date.now() + 86_400_000);
    const serial = Buffer.concat([Buffer.from([1]), randomBytes(8)]);
    const version = der(0xa0, der(0x02, Buffer.from([2])));
    const validity = sequence(time(from), time(until));
    const about = [version, der(0x02, serial), ecdsaSha256, nameOf(name), validity, nameOf(subject), spki(key)];
    const body = sequence(...about, der(0xa3, sequence(...extensions)));
    const signed = sign('sha256', body, own.privateKey);
    return pem(sequence(body, ecdsaSha256, der(0x03, Buffer.from([0]), signed)));
  };
  const basic = (isCa: boolean): Buffer => sequence(...(isCa ? [der(0x01, Buffer.from([0xff]))] : []));
  const ca = make(name, own.publicKey, [
    extension('551d13', true, basic(true)),
    extension('551d0f', true, der(0x03, Buffer.from([1, 0x06]))),
    extension('551d0e', false, der(0x04, identifier)),
  ]);
  return {
    ca,
    issue(common) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const names = sequence(der(0x82, Buffer.from(common)), der(0x87, Buffer.from([127, 0, 0, 1])));
      const usages = sequence(oid('2b06010505070301'), oid('2b06010505070302'));
      const cert = make(common, pair.publicKey, [
        extension('551d13', true, basic(false)),
        extension('551d25', false, usages),
        extension('551d11', false, names),
        extension('551d23', false, sequence(der(0x80, identifier))),
      ]);
      return { cert, key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
    },
  };
}

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const pem = (bytes: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replaceAll(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
