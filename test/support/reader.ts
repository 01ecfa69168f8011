import { once } from 'node:events';
import { WebSocket } from 'ws';

export interface EventFrame {
  rkey: string;
  nsid: string;
  event: { workflow: string; status: string; createdAt: string; pipeline: string };
}

/** A plain reader of `/events` at this address, with a cursor or without. Resolves when it is connected. */
export async function readEvents(base: string, cursor?: bigint | string) {
  const query = cursor === undefined ? '' : `?cursor=${cursor}`;
  const socket = new WebSocket(`${base.replace(/^http/, 'ws')}/events${query}`);
  const frames: EventFrame[] = [];
  let pings = 0;
  let binary = 0;
  socket.on('message', (data, isBinary) => {
    if (isBinary) binary++;
    frames.push(JSON.parse((data as Buffer).toString()) as EventFrame);
  });
  socket.on('ping', () => pings++);
  const closed = once(socket, 'close').then(([code]) => code as number);
  closed.catch(() => {});
  await once(socket, 'open');
  return {
    socket,
    frames,
    rkeys: () => frames.map((frame) => frame.rkey),
    pings: () => pings,
    binary: () => binary,
    /** The code of the close. */
    closed,
    async close() {
      socket.close();
      await closed;
    },
  };
}
