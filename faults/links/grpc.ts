import { once } from 'node:events';
import { connect, createServer, type ClientHttp2Session, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Arms } from './arms.ts';
import { createTargets } from './dial.ts';
import { carry } from './grpc-call.ts';
import { openRelay, type Relay } from './relay.ts';

const streamWindow = 1 << 24;
const sessionWindow = 1 << 26;
const settings = { initialWindowSize: streamWindow, maxConcurrentStreams: 10_000 };
/** MB. What is on its way fills the windows at worst. */
const maxSessionMemory = 512;

/** What is open for one client. */
interface Session {
  destroy(): void;
}

/**
 * A link that takes part in HTTP/2 on both sides: each client's session leads to a session of its own, and each stream to
 * a stream. In front of it is a plain link, for what happens to bytes. It answers pings itself.
 */
export async function openGrpc(arms: Arms, to: string[]): Promise<Relay> {
  const sessions = new Set<Session>();
  const targets = createTargets(to);

  const server = createServer({ settings, maxSessionMemory });
  server.on('connection', (socket: Socket) => void socket.setNoDelay());
  server.on('session', (session) => serve(session));
  server.on('sessionError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay = await openRelay({ to: [`127.0.0.1:${(server.address() as AddressInfo).port}`] });

  /** The next target in turn that takes the connection. */
  const lead = async (signal: AbortSignal): Promise<ClientHttp2Session | undefined> => {
    const socket = await targets.dial(signal);
    if (!socket || socket.destroyed) return undefined;
    socket.allowHalfOpen = false;
    const session = connect('http://127.0.0.1', {
      createConnection: () => socket,
      settings: { ...settings, enablePush: false },
      maxSessionMemory,
      peerMaxConcurrentStreams: settings.maxConcurrentStreams,
    });
    session.on('error', () => {});
    session.once('connect', () => session.setLocalWindowSize(sessionWindow));
    return session;
  };

  const serve = (session: ServerHttp2Session): void => {
    const port = session.socket.remotePort ?? 0;
    const ended = new AbortController();
    let target: ClientHttp2Session | undefined;
    const here: Session = {
      destroy() {
        if (!sessions.delete(here)) return;
        ended.abort();
        relay.cutOne(port);
        session.destroy();
        target?.destroy();
      },
    };
    sessions.add(here);
    session.setLocalWindowSize(sessionWindow);
    session.on('error', () => {});
    session.once('close', () => {
      sessions.delete(here);
      ended.abort();
      target?.destroy();
    });
    const upstream = lead(ended.signal).then((taken) => {
      target = taken;
      if (!taken || session.destroyed) {
        here.destroy();
        taken?.destroy();
        return undefined;
      }
      // `close` waits for the calls that are under way, as the target does after it has said so.
      taken.once('goaway', (code: number) => {
        if (code === 0) session.close();
        else session.goaway(code);
      });
      taken.once('close', () => {
        if (!session.closed) here.destroy();
      });
      return taken;
    });
    const carrier = { arms, upstream, drop: here.destroy };
    session.on('stream', (stream, headers, flags) => void carry(carrier, { stream, headers, flags }));
  };

  const destroyAll = (): void => {
    for (const session of sessions) session.destroy();
  };

  return {
    ...relay,
    get open() {
      return relay.open;
    },
    to: targets.to,
    cut() {
      const count = relay.cut();
      destroyAll();
      return count;
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      await relay.close();
      destroyAll();
      await closed;
    },
  };
}
