import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** Answers a request for an upgrade with an error, as JSON; `error` is a word for programs if there is one. */
export function refuse(socket: Duplex, status: number, message: string, error?: string): void {
  const body = JSON.stringify(error === undefined ? { error: message } : { error, message });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Access-Control-Allow-Origin: *\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
