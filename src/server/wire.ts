/**
 * Lines of text as WebSocket frames (RFC 6455, 5.2): text, final, not masked. What a server sends is the same for every
 * reader, so it can be framed once for all of them. The pieces end between frames, where a ping may come in between,
 * and are about `pieceBytes` long each.
 */
export function textFrames(lines: Buffer, pieceBytes = 64 * 1024): Buffer[] {
  const frames = Buffer.allocUnsafe(lines.length + 10 * (1 + count(lines, newline)));
  const pieces: Buffer[] = [];
  let begun = 0;
  let at = 0;
  for (let from = 0; from <= lines.length;) {
    const found = lines.indexOf(newline, from);
    const to = found === -1 ? lines.length : found;
    at = header(frames, at, to - from);
    at += lines.copy(frames, at, from, to);
    from = to + 1;
    if (at - begun < pieceBytes && from <= lines.length) continue;
    pieces.push(frames.subarray(begun, at));
    begun = at;
  }
  return pieces;
}

/** Frames one behind the other, in pieces of about `pieceBytes`: one write for hundreds of them. Each is made when it is asked for. */
export function* joined(frames: readonly Buffer[], pieceBytes = 64 * 1024): Generator<Buffer, void> {
  for (let from = 0, to = 0, bytes = 0; to < frames.length;) {
    bytes += frames[to++]?.length ?? 0;
    if (bytes < pieceBytes && to < frames.length) continue;
    yield Buffer.concat(frames.slice(from, to), bytes);
    [from, bytes] = [to, 0];
  }
}

/** One text as a frame. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(length + (length < 126 ? 2 : length < 65_536 ? 4 : 10));
  frame.write(text, header(frame, 0, length));
  return frame;
}

const newline = 0x0a;

function count(bytes: Buffer, byte: number): number {
  let found = 0;
  for (let at = bytes.indexOf(byte); at !== -1; at = bytes.indexOf(byte, at + 1)) found++;
  return found;
}

/** Writes the header of a frame and gives the place after it. */
function header(into: Buffer, at: number, length: number): number {
  into[at] = 0x81;
  if (length < 126) {
    into[at + 1] = length;
    return at + 2;
  }
  if (length < 65_536) {
    into[at + 1] = 126;
    return into.writeUInt16BE(length, at + 2);
  }
  into[at + 1] = 127;
  return into.writeBigUInt64BE(BigInt(length), at + 2);
}

/**
 * Takes SGR codes (colours) out of entries, which are JSON: `ESC [ … m` is written `\u001b[…m` there. After an odd number
 * of further backslashes it is no code, but a line that speaks of one. The bytes are moved where they are.
 */
export function withoutColours(lines: Buffer): Buffer {
  let kept = 0;
  let done = 0;
  for (let at = lines.indexOf(code); at !== -1; at = lines.indexOf(code, at + code.length)) {
    let before = at;
    while (before > done && lines[before - 1] === backslash) before--;
    let end = at + code.length;
    while (isParameter(lines[end])) end++;
    if ((at - before) % 2 === 1 || lines[end] !== letterM) continue;
    kept += lines.copy(lines, kept, done, at);
    done = end + 1;
  }
  if (done === 0) return lines;
  kept += lines.copy(lines, kept, done);
  return lines.subarray(0, kept);
}

const code = Buffer.from('\\u001b[');
const backslash = 0x5c;
const letterM = 0x6d;
/** Digits, colon and semicolon, which follow one another in ASCII. */
const isParameter = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x3b;
