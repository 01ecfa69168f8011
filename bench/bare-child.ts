import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { openDatabase } from '../src/store/db.ts';

/** How much may wait in a socket, so that what is measured is sending and not the growth of a heap. */
const highWater = 1024 * 1024;

const [databaseUrl = ''] = process.argv.slice(2);
const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' });
const sql = openDatabase(databaseUrl, { max: 1, applicationName: 'bare' });
/** As bytes, since making those of a text at each send would cost a third of the time. */
let frames: Buffer[] = [];
const asText = { binary: false };

sockets.on('connection', (socket, { url }) => {
  if (url === '/all') void sendAll(socket);
});
// The quickest way from a commit to a reader: what was committed is in the notice itself.
await sql.listen('bare', (frame) => {
  const bytes = Buffer.from(frame);
  for (const socket of sockets.clients) socket.send(bytes, asText);
});
process.on('message', (file: string) => void load(file));
process.on('disconnect', () => process.exit(0));
process.send?.((sockets.address() as AddressInfo).port);

async function sendAll(socket: WebSocket): Promise<void> {
  for (const frame of frames) {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount < highWater) socket.send(frame, asText);
    else await new Promise((resolve) => socket.send(frame, asText, resolve));
  }
}

async function load(file: string): Promise<void> {
  const texts = JSON.parse(await readFile(file, 'utf8')) as string[];
  frames = texts.map((text) => Buffer.from(text));
  process.send?.('loaded');
}
