import type { Arms } from './arms.ts';
import { bodyOf } from './http-body.ts';
import type { OpenTap, Tap } from './pair.ts';

/** A head that grows beyond this is none. */
const longestHead = 1 << 18;

/**
 * Reads along HTTP/1.1 with keep-alive. What an upgrade has changed, and whatever is not HTTP, is passed on unread.
 * Clients that send a request before the last one was answered get their bytes in order, but not all of their points.
 */
export const httpTap =
  (arms: Arms): OpenTap =>
  (forth, back, drop): Tap => {
    let blind = false;
    let head: Buffer = Buffer.alloc(0);
    /** The request's body, until all of it was seen. */
    let body: ReturnType<typeof bodyOf>;
    /** `METHOD /path` of what was passed on and has no answer yet. */
    let asked: string | undefined;
    let answer: Buffer = Buffer.alloc(0);

    /** The request whose head begins the bytes; how long that is. 0: it is not complete. */
    const begin = (bytes: Buffer): number => {
      const end = bytes.indexOf('\r\n\r\n', Math.max(0, head.length - 3)) + 4;
      if (end < 4) {
        blind = bytes.length > longestHead;
        return 0;
      }
      const text = bytes.toString('latin1', 0, end);
      const [, method, path] = /^([A-Z]+) (\S+) HTTP\/1\.[01]\r\n/.exec(text) ?? [];
      if (!method || !path || method === 'CONNECT') blind = true;
      else {
        asked = `${method} ${path}`;
        body = bodyOf(text);
      }
      return end;
    };

    const read = (chunk: Buffer): void => {
      let bytes = chunk;
      while (bytes.length > 0) {
        if (body && !blind) {
          const end = body(bytes);
          forth.pass(bytes.subarray(0, end.length));
          bytes = bytes.subarray(end.length);
          if (end.done) body = undefined;
          continue;
        }
        if (head.length > 0) bytes = Buffer.concat([head, bytes]);
        const length = blind ? bytes.length : begin(bytes);
        if (length === 0 && !blind) {
          head = bytes;
          return;
        }
        head = Buffer.alloc(0);
        const fate = blind || asked === undefined ? 'pass' : arms.reached('before', 'call', asked);
        if (fate === 'drop') {
          drop();
          return;
        }
        if (fate !== 'pass') forth.later(fate);
        const size = blind ? bytes.length : length;
        forth.pass(bytes.subarray(0, size));
        bytes = bytes.subarray(size);
      }
    };

    /** Takes the interim answers (1xx) off the front, and looks whether the answer itself begins. */
    const begun = (): boolean => {
      for (;;) {
        if (answer.length < 12) return false;
        const [, status = ''] = /^HTTP\/1\.[01] (1\d\d)/.exec(answer.toString('latin1', 0, 12)) ?? [];
        if (status === '101') blind = true;
        if (status === '' || blind) return true;
        const end = answer.indexOf('\r\n\r\n') + 4;
        if (end < 4) return false;
        back.pass(answer.subarray(0, end));
        answer = answer.subarray(end);
      }
    };

    const flush = (): void => {
      const bytes = answer;
      answer = Buffer.alloc(0);
      if (bytes.length > 0) back.pass(bytes);
    };

    return {
      forth: read,
      back(chunk) {
        if (asked === undefined || blind) {
          flush();
          back.pass(chunk);
          return;
        }
        answer = answer.length > 0 ? Buffer.concat([answer, chunk]) : chunk;
        if (!begun()) return;
        // An answer to half a request is none of the points: not all of it has reached the target.
        const fate = body ? 'pass' : arms.reached('after', 'call', asked);
        asked = undefined;
        if (fate === 'drop') {
          drop();
          return;
        }
        if (fate !== 'pass') back.later(fate);
        flush();
      },
      forthEnd() {
        if (head.length > 0) forth.pass(head);
        head = Buffer.alloc(0);
      },
      backEnd: flush,
    };
  };
