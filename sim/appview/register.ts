import { z } from 'zod';

/** What the settings page of an appview says after somebody entered a spindle's host. */
export type Registration =
  | { ok: true; owner: string }
  /** `upgrade`: the spindle does not speak XRPC; `mismatch`: it is somebody else's; `failed`: anything else */
  | { ok: false; problem: 'upgrade' | 'mismatch' | 'failed'; message: string };

const answer = z.object({ owner: z.string() });

/**
 * The check that an appview makes before it shows a spindle as verified: the spindle must say that its owner is who
 * registers it (tangled core, `appview/serververify`). A host without a scheme is asked by https, as in production.
 */
export async function register(spindleUrl: string, did: string, timeoutMs = 5_000): Promise<Registration> {
  const [, scheme = 'https', host = ''] = /^(?:([a-z]+):\/\/)?(.*?)\/?$/.exec(spindleUrl) ?? [];
  const url = `${scheme.replace('ws', 'http')}://${host}/xrpc/sh.tangled.owner`;
  const failed = (message: string): Registration => ({ ok: false, problem: 'failed', message: `${url} ${message}` });

  let response: Response;
  let body: unknown;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), headers: { accept: '*/*' } });
    if (response.status === 404) {
      return { ok: false, problem: 'upgrade', message: `${url} answers 404: this spindle must be upgraded` };
    }
    if (response.status !== 200) return failed(`answers ${response.status}`);
    body = await response.json();
  } catch (error) {
    return failed(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const said = answer.safeParse(body);
  if (!said.success) return failed(`does not answer { owner }, but ${JSON.stringify(body).slice(0, 200)}`);
  const { owner } = said.data;
  if (owner !== did) {
    return {
      ok: false,
      problem: 'mismatch',
      message: `owner mismatch: "${did}" registers it, but its owner is "${owner}"`,
    };
  }
  return { ok: true, owner };
}
