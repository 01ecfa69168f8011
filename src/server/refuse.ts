import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { upgradesRefused } from '../metrics/index.ts';

export interface Refusal {
  /** A word for programs. */
  error?: string | undefined;
  /** Seconds. */
  retryAfter?: number | undefined;
}

/** So long a client may take to read the answer and to hang up. */
const goodbyeMs = 1_000;

/** Answers a request for an upgrade with an error, as JSON, and ends the connection, whatever the other side does. */
export function refuse(socket: Duplex, status: number, message: string, { error, retryAfter }: Refusal = {}): void {
  upgradesRefused.inc({ status: status });
  const body = JSON.stringify(error === undefined ? { error: message } : { error, message });
  const later = retryAfter === undefined ? '' : `Retry-After: ${retryAfter}\r\n`;
  // Nobody else watches a socket that has asked for an upgrade. It is not cut at once: what the client has sent since
  // would make the system throw away the answer.
  const patience = setTimeout(() => socket.destroy(), goodbyeMs);
  socket.once('close', () => clearTimeout(patience));
  socket.resume();
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Access-Control-Allow-Origin: *\r\n${later}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
