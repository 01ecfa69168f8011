import { createSocket } from 'node:dgram';
import dns from 'node:dns';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

/** What a name has: its TXT records, a response code of the DNS (2 SERVFAIL, 3 NXDOMAIN), or no answer at all. */
export type DnsAnswer = readonly string[] | { code: number } | 'silence';

export interface DnsServer {
  /** By name, in small letters; what is not here does not exist. */
  records: Map<string, DnsAnswer>;
  /** The names that were asked for. */
  asked: string[];
}

/** A name server (RFC 1035) that this process asks for TXT records until the test ends. */
export async function startDns(records: Record<string, DnsAnswer> = {}): Promise<DnsServer> {
  const server: DnsServer = { records: new Map(Object.entries(records)), asked: [] };
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    const { name, end } = questionOf(query);
    server.asked.push(name);
    const answer = server.records.get(name) ?? { code: 3 };
    if (answer === 'silence') return;
    socket.send(reply(query.subarray(0, end), answer), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const before = dns.getServers();
  dns.setServers([`127.0.0.1:${socket.address().port}`]);
  onTestFinished(() => {
    dns.setServers(before);
    socket.close();
  });
  return server;
}

const headerBytes = 12;

function questionOf(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = headerBytes;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  // the root, a type and a class
  return { name: labels.join('.').toLowerCase(), end: at + 5 };
}

function reply(question: Buffer, answer: readonly string[] | { code: number }): Buffer {
  const texts = 'code' in answer ? [] : answer;
  const head = Buffer.from(question);
  head.writeUInt16BE(0x81_80 | ('code' in answer ? answer.code : 0), 2);
  for (const [at, count] of [1, texts.length, 0, 0].entries()) head.writeUInt16BE(count, 4 + 2 * at);
  return Buffer.concat([head, ...texts.map(txtRecord)]);
}

/** Of the name in the question, in strings of at most 255 bytes. */
function txtRecord(text: string): Buffer {
  const parts = text.match(/.{1,255}/gs) ?? [''];
  const data = Buffer.concat(parts.map((part) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part)])));
  const about = Buffer.from([0xc0, headerBytes, 0, 16, 0, 1, 0, 0, 0, 60, 0, 0]);
  about.writeUInt16BE(data.length, 10);
  return Buffer.concat([about, data]);
}
