/** A frame of a WebSocket, as clients send it, masked with zeros, or as servers do; `length` may be a lie. */
export function frame(
  opcode: number,
  payload: Uint8Array,
  { fin = true, rsv = 0, length = payload.length, masked = true } = {},
): Buffer {
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const bit = masked ? 0x80 : 0;
  const size =
    length < 126
      ? Buffer.from([bit | length])
      : length < 65_536
        ? Buffer.from([bit | 126, length >> 8, length & 255])
        : Buffer.from([bit | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (length >>> shift) & 255)]);
  return Buffer.concat([Buffer.from([first]), size, masked ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
}
