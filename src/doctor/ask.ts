import http from 'node:http';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { Guard } from '../clients/guard.ts';

export interface Asked {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Cut at 64 KiB. */
  body: string;
  /** How far its clock is ahead of ours by its `Date`, ms; undefined when it does not say. Whole seconds. */
  skewMs: number | undefined;
  /** Until when its certificate is good; undefined without TLS. */
  certificateUntil: Date | undefined;
  /** Where it is. */
  address: string | undefined;
}

export interface AskOptions {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: string;
  signal: AbortSignal;
  /** For a host that strangers name. */
  guard?: Guard | undefined;
}

const mostBytes = 64 * 1024;

/** One request on a connection of its own; no redirect is followed. Rejects with a sentence that says what is wrong. */
export function ask(url: URL, { method = 'GET', headers = {}, body, signal, guard }: AskOptions): Promise<Asked> {
  return new Promise((resolve, reject) => {
    guard?.check(url.hostname);
    const give = (error: Error): void => reject(new Error(sentence(url, error), { cause: error }));
    const send = url.protocol === 'https:' ? https.request : http.request;
    const request = send(url, {
      method,
      headers: { 'user-agent': 'whorl doctor', ...headers },
      agent: false,
      signal,
      ...(guard && { lookup: guard.lookup }),
    });
    request.on('error', give);
    request.on('response', (answer) => {
      const { socket } = answer;
      const until = 'getPeerCertificate' in socket ? validTo(socket as TLSSocket) : undefined;
      const about = {
        status: answer.statusCode ?? 0,
        headers: answer.headers,
        skewMs: skew(answer.headers.date),
        certificateUntil: until,
        address: socket.remoteAddress,
      };
      const chunks: Buffer[] = [];
      let size = 0;
      const done = (): void => resolve({ ...about, body: Buffer.concat(chunks).toString('utf8') });
      answer.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size <= mostBytes) return;
        done();
        answer.destroy();
      });
      answer.on('end', done);
      answer.on('error', give);
    });
    request.end(body);
  });
}

/** A date has whole seconds, and the answer took a while. */
const dateErrorMs = 2_000;

function skew(date: string | undefined): number | undefined {
  const theirs = Date.parse(date ?? '');
  if (Number.isNaN(theirs)) return undefined;
  const ms = theirs - Date.now();
  return Math.abs(ms) <= dateErrorMs ? 0 : ms;
}

function validTo(socket: TLSSocket): Date | undefined {
  const until = Date.parse(socket.getPeerCertificate().valid_to);
  return Number.isNaN(until) ? undefined : new Date(until);
}

function sentence(url: URL, error: Error): string {
  const { host, hostname } = url;
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `${host} gives no answer in time`;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name ${hostname} cannot be resolved (${code})`;
  if (code === 'ECONNREFUSED') return `nothing listens at ${host} (${code})`;
  if (/CERT|SIGNATURE|SELF_SIGNED|ALTNAME/.test(code))
    return `the certificate of ${host} is not good: ${error.message}`;
  if (/SSL|TLS|EPROTO/.test(code)) return `${host} does not speak TLS as it should (${code})`;
  const inner = error instanceof AggregateError && error.errors.length > 0 ? String(error.errors[0]) : error.message;
  return `${host} cannot be reached: ${inner || code}`;
}
