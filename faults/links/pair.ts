import type { Socket } from 'node:net';
import { type Conduct, createLane, type Lane } from './lane.ts';

/** What a tap may do with one direction of a connection. */
export type Way = Pick<Lane, 'pass' | 'later'>;

/** Reads along one connection: gets all bytes, and passes them on, at once or later. */
export interface Tap {
  /** From the client, towards the target. */
  forth(chunk: Buffer): void;
  back(chunk: Buffer): void;
  /** No more bytes come from that side: what is still held back has to go on now. */
  forthEnd(): void;
  backEnd(): void;
}

/** A tap for a new connection. `drop` destroys it; afterwards nothing that is passed goes anywhere. */
export type OpenTap = (forth: Way, back: Way, drop: () => void) => Tap;

/** A client's connection and the one to the target that it leads to. */
export interface Pair {
  readonly client: Socket;
  readonly target: Socket | undefined;
  /** Joins the two. Undefined: no target took it, so the client is reset. */
  join(target: Socket | undefined): void;
  /** Both stay open, and pass nothing more. */
  freeze(): void;
  readonly frozen: boolean;
  pump(): void;
  /** Resets both, now. */
  destroy(): void;
  /** Called once, when both are gone. */
  onGone(call: () => void): void;
}

const reset = (socket: Socket | undefined): void => {
  if (!socket || socket.destroyed) return;
  socket.resetAndDestroy();
};

export function createPair(client: Socket, conduct: Conduct, openTap: OpenTap | undefined): Pair {
  let target: Socket | undefined;
  let lanes: Lane[] = [];
  let frozen = false;
  let destroyed = false;
  let gone = (): void => {};

  const done = (): void => {
    if (!client.closed || (target && !target.closed)) return;
    for (const lane of lanes) lane.stop();
    gone();
  };

  const destroy = (): void => {
    destroyed = true;
    for (const lane of lanes) lane.stop();
    reset(client);
    reset(target);
  };

  /** A side broke off: what it had sent is passed on, and then the break. */
  const broken = (lane: Lane | undefined, hadError: boolean): void => {
    if (hadError && !frozen) {
      if (lane) lane.pass('reset');
      else destroy();
    }
    done();
  };
  client.on('error', () => {});
  client.once('close', (hadError) => broken(lanes[0], hadError));

  const start = (to: Socket): void => {
    const forth = createLane(client, to, conduct, conduct.forth);
    const back = createLane(to, client, conduct, conduct.back);
    lanes = [forth, back];
    const tap = openTap?.(forth, back, destroy);
    client.on('data', tap?.forth ?? forth.pass);
    to.on('data', tap?.back ?? back.pass);
    client.once('end', () => {
      tap?.forthEnd();
      forth.pass('end');
    });
    to.once('end', () => {
      tap?.backEnd();
      back.pass('end');
    });
  };

  return {
    client,
    get target() {
      return target;
    },
    join(taken) {
      target = taken;
      target?.once('close', (hadError) => broken(lanes[1], hadError));
      if (destroyed || (client.destroyed && !frozen)) destroy();
      else if (frozen) return;
      else if (!target) destroy();
      else start(target);
    },
    freeze() {
      frozen = true;
      for (const lane of lanes) lane.stop();
      client.pause();
    },
    get frozen() {
      return frozen;
    },
    pump() {
      for (const lane of lanes) lane.pump();
    },
    destroy,
    onGone(call) {
      gone = call;
    },
  };
}
