/** How many of the bytes belong to the body, and whether it ends there. */
export type Body = (bytes: Buffer) => { length: number; done: boolean };

/** The body that follows a request's head; undefined when there is none. */
export function bodyOf(head: string): Body | undefined {
  if (/^transfer-encoding:.*\bchunked\b/im.test(head)) return chunked();
  const [, length = '0'] = /^content-length:[ \t]*(\d+)/im.exec(head) ?? [];
  return length === '0' ? undefined : counted(Number(length));
}

function counted(size: number): Body {
  let left = size;
  return (bytes) => {
    const length = Math.min(left, bytes.length);
    left -= length;
    return { length, done: left === 0 };
  };
}

function chunked(): Body {
  /** Of a chunk and the end of line behind it. */
  let left = 0;
  let line = '';
  let trailers = false;
  let done = false;
  const endOfLine = (): void => {
    const text = line.trim();
    line = '';
    if (trailers) done = text === '';
    else {
      const size = Number.parseInt(text, 16);
      if (size > 0) left = size + 2;
      else trailers = true;
    }
  };
  return (bytes) => {
    let at = 0;
    while (at < bytes.length && !done) {
      if (left > 0) {
        const length = Math.min(left, bytes.length - at);
        left -= length;
        at += length;
        continue;
      }
      const byte = bytes[at] ?? 0;
      at += 1;
      if (byte === 0x0a) endOfLine();
      else line += String.fromCharCode(byte);
    }
    return { length: at, done };
  };
}
