export interface LogPath {
  knot: string;
  rkey: string;
  /** What the job may be called: decoded, or as it was written if that is something else. */
  jobs: string[];
}

/**
 * The parts of `/logs/<knot>/<rkey>/<workflow>`, percent-encoded or raw: appviews join them as they are. Undefined when
 * nothing of ours can be called so.
 * @param pathname as Node gives it: raw bytes as Latin-1
 */
export function parseLogPath(pathname: string): LogPath | 'incomplete' | undefined {
  const [, , knot, rkey, job, ...more] = pathname.split('/');
  if (!knot || !rkey || !job) return 'incomplete';
  const written = textOf(Buffer.from(job, 'latin1'));
  const [decodedKnot, decodedRkey, decoded] = [knot, rkey, job].map((part) => textOf(percentDecoded(part)));
  if (more.length > 0 || decodedKnot === undefined || decodedRkey === undefined) return undefined;
  const jobs = [...new Set([decoded, written])].filter((name) => name !== undefined);
  return jobs.length > 0 ? { knot: decodedKnot, rkey: decodedRkey, jobs } : undefined;
}

/** Bytes; a percent sign that encodes nothing stands for itself. */
function percentDecoded(text: string): Buffer {
  return Buffer.from(
    text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Undefined when it is not UTF-8, or has a NUL, which PostgreSQL would not compare. */
function textOf(bytes: Buffer): string | undefined {
  try {
    const text = utf8.decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
