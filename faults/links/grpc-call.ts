import { type ClientHttp2Session, constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { setTimeout as pause } from 'node:timers/promises';
import type { Fate } from '../contract.ts';
import type { Arms } from './arms.ts';

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

/** One call: a stream from the client, with what its first frame said. */
export interface Call {
  stream: ServerHttp2Stream;
  headers: IncomingHttpHeaders;
  flags: number;
}

/** Carries calls of one session on to another. */
export interface Carrier {
  readonly arms: Arms;
  /** Resolves when a target has taken the connection, or none. */
  readonly upstream: Promise<ClientHttp2Session | undefined>;
  /** Destroys the sessions on both sides. */
  drop(): void;
}

const ends = (flags: number): boolean => (flags & NGHTTP2_FLAG_END_STREAM) !== 0;

/** `StartWorkflowExecution` of `/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution`. */
const methodOf = ({ ':path': path = '' }: IncomingHttpHeaders): string => path.slice(path.lastIndexOf('/') + 1);

/** Carries one call there, and its answer back. Resolves when it was sent on; never rejects. */
export async function carry({ arms, upstream, drop }: Carrier, call: Call): Promise<void> {
  const { stream, headers } = call;
  stream.on('error', () => {});
  const method = methodOf(headers);
  if (!(await goesOn(arms.reached('before', 'call', method), drop))) return;
  const to = await upstream;
  if (stream.destroyed) return;
  if (!to || to.closed) {
    stream.close(NGHTTP2_REFUSED_STREAM);
    return;
  }
  ask(
    to,
    call,
    () => arms.waits('after', 'call', method),
    async () => goesOn(arms.reached('after', 'call', method), drop),
  );
}

async function goesOn(fate: Fate, drop: () => void): Promise<boolean> {
  if (fate === 'drop') drop();
  else if (fate !== 'pass') await pause(fate);
  return fate !== 'drop';
}

/** `holds`: whether the answer is to be complete before any of it is passed back, and then only if `decided` says so. */
function ask(
  to: ClientHttp2Session,
  { stream, headers, flags }: Call,
  holds: () => boolean,
  decided: () => Promise<boolean>,
): void {
  // With trailers to wait for, Node does not make a stream look complete before it resets it.
  const asked = to.request(headers, { endStream: ends(flags), waitForTrailers: !ends(flags) });
  asked.on('error', () => {});
  if (!ends(flags)) {
    // A stream that is reset ends for its reader as one that is complete does: only the code tells.
    const complete = (): boolean => stream.readableEnded && stream.rstCode === NGHTTP2_NO_ERROR;
    const end = (): void => {
      if (complete()) asked.end();
    };
    asked.once('wantTrailers', () => {
      if (complete()) asked.sendTrailers({});
    });
    stream.pipe(asked, { end: false });
    // of an empty one it may have come already
    if (stream.readableEnded) end();
    else stream.once('end', end);
  }
  stream.once('close', () => {
    if (!asked.closed) asked.close(stream.rstCode === NGHTTP2_NO_ERROR ? NGHTTP2_CANCEL : stream.rstCode);
  });

  let trailers: IncomingHttpHeaders = {};
  asked.once('trailers', (given) => (trailers = given));
  const over = new Promise<void>((resolve) => void asked.once('close', resolve));
  const broken = (): boolean => asked.rstCode !== NGHTTP2_NO_ERROR;

  const respond = (answer: IncomingHttpHeaders, endStream: boolean): void => {
    // what Node would add by itself is not part of the answer
    const options = { endStream, waitForTrailers: !endStream, sendDate: false };
    stream.respond(answer, options);
    if (endStream) return;
    stream.once('wantTrailers', () => {
      void over.then(() => {
        if (!stream.destroyed && !broken()) stream.sendTrailers(trailers);
      });
    });
  };

  let held = false;
  const answered = async (answer: IncomingHttpHeaders, answerFlags: number): Promise<void> => {
    const endStream = ends(answerFlags);
    held = holds();
    if (!held) {
      if (stream.destroyed) return;
      respond(answer, endStream);
      if (endStream) asked.resume();
      else asked.pipe(stream, { end: false });
      return;
    }
    const body: Buffer[] = [];
    asked.on('data', (chunk: Buffer) => void body.push(chunk));
    await over;
    if (broken() || !(await decided()) || stream.destroyed) return;
    respond(answer, endStream);
    if (!endStream) stream.end(Buffer.concat(body));
  };
  asked.once('response', (answer, answerFlags) => void answered(answer, answerFlags));

  void over.then(() => {
    if (stream.destroyed) return;
    if (broken()) stream.close(asked.rstCode);
    else if (!held) stream.end();
  });
}
