import { crc32, deflateSync, inflateSync } from 'node:zlib';

const signature = 8;

/** The same picture in fewer bytes: a browser compresses in haste. */
export function squeezed(png: Buffer): Buffer {
  const chunks: { type: string; data: Buffer }[] = [];
  for (let at = signature; at < png.length;) {
    const length = png.readUInt32BE(at);
    chunks.push({ type: png.toString('latin1', at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  const pixels = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)));
  const head = chunks.filter(({ type }) => type === 'IHDR');
  const all = [
    ...head,
    { type: 'IDAT', data: deflateSync(pixels, { level: 9, memLevel: 9 }) },
    { type: 'IEND', data: Buffer.alloc(0) },
  ];
  return Buffer.concat([png.subarray(0, signature), ...all.map(chunk)]);
}

function chunk({ type, data }: { type: string; data: Buffer }): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
