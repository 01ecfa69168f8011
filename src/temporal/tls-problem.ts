import { connect } from 'node:tls';

/** How a client of Temporal's SDK is told to use TLS. */
export type TlsSettings =
  | boolean
  | null
  | undefined
  | {
      serverNameOverride?: string;
      serverRootCACertificate?: Uint8Array;
      clientCertPair?: { crt: Uint8Array; key: Uint8Array };
    };

/** What to look at then. */
export const tlsAdvice =
  'check TEMPORAL_TLS and the TEMPORAL_TLS_* files: the CA that signed its certificate, its name, our own certificate';

const handshakeMs = 700;
/** A server that does not take our certificate says so after the handshake (TLS 1.3). */
const afterMs = 100;

/**
 * Why TLS with `host:port` fails, or undefined when it does not, or no TLS is meant: gRPC's client only says that there
 * was no connection in time.
 */
export function tlsProblem(address: string, tls: TlsSettings): Promise<string | undefined> {
  if (!tls) return Promise.resolve(undefined);
  const { serverNameOverride, serverRootCACertificate, clientCertPair } = tls === true ? {} : tls;
  const { hostname, port } = new URL(`https://${address}`);
  return new Promise((resolve) => {
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    const socket = connect({
      host,
      port: Number(port || 443),
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
      ...(serverNameOverride === undefined ? {} : { servername: serverNameOverride }),
      ...(serverRootCACertificate && { ca: Buffer.from(serverRootCACertificate) }),
      ...(clientCertPair && { cert: Buffer.from(clientCertPair.crt), key: Buffer.from(clientCertPair.key) }),
      ALPNProtocols: ['h2'],
    });
    const end = (problem?: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(problem);
    };
    const timer = setTimeout(end, handshakeMs);
    // Whatever is no matter of TLS is told by the client itself.
    socket.on('error', ({ message, code }: NodeJS.ErrnoException) =>
      end(/^E[A-Z]+$/.test(code ?? '') ? undefined : `TLS: ${message.split('\n', 1)[0]}`),
    );
    socket.once('secureConnect', () => setTimeout(end, afterMs));
  });
}
