import { WebSocket } from 'ws';
import type { CrowdReport, CrowdTask } from './crowd.ts';
import { now } from './stats.ts';

/** Whoever asked may have gone meanwhile. */
const tell = (report: CrowdReport): void =>
  void process.send?.(report, undefined, undefined, (error) => error && process.exit(0));
const sockets: WebSocket[] = [];

process.on('disconnect', () => process.exit(0));
process.on('message', (task: CrowdTask) => {
  if (task.kind === 'leave') for (const socket of sockets.splice(0)) socket.terminate();
  else if (task.kind === 'read') readAll(task);
  else follow(task);
});

/** Each reader dials, and has done when it has all frames. */
function readAll({ url, readers, frames, keep }: Extract<CrowdTask, { kind: 'read' }>): void {
  const startedAt = now();
  const kept: string[] = [];
  let [bytes, left] = [0, readers];
  for (let n = 0; n < readers; n += 1) {
    let got = 0;
    const socket = open(url);
    socket.on('message', (data: Buffer) => {
      got += 1;
      bytes += data.length;
      if (keep === true) kept.push(data.toString());
      if (got !== frames) return;
      left -= 1;
      if (left === 0) tell({ kind: 'read', startedAt, endedAt: now(), bytes, kept });
    });
  }
}

/** All readers stay; of each frame the time is told at which the last of them got it. */
function follow({ url, readers }: Extract<CrowdTask, { kind: 'follow' }>): void {
  const heard = new Map<string, number>();
  let opening = readers;
  for (let n = 0; n < readers; n += 1) {
    const socket = open(url);
    socket.on('open', () => --opening === 0 && tell({ kind: 'open' }));
    socket.on('message', (data: Buffer) => {
      const frame = data.toString();
      const count = (heard.get(frame) ?? 0) + 1;
      heard.set(frame, count);
      if (count === readers) tell({ kind: 'heard', frame, at: now() });
    });
  }
}

function open(url: string): WebSocket {
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 4 * 1024 * 1024 });
  socket.on('error', (error) => tell({ kind: 'trouble', what: error.message }));
  socket.on('close', (code, reason) => {
    if (code !== 1000 && code !== 1006) tell({ kind: 'trouble', what: `closed with ${code} ${String(reason)}` });
  });
  sockets.push(socket);
  return socket;
}
