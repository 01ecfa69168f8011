import type { Failure } from '../../pipeline/failures.ts';
import { ProviderError } from '../errors.ts';

/** Names a request for people. */
export const describe = ({ method, path }: { method: string; path: (string | number)[] }): string =>
  `${method} /${path.join('/')}`;

/** What a status means whatever was asked; undefined when that depends on the call. */
export function thrownFor(
  request: { method: string; path: (string | number)[] },
  status: number,
  reason: string,
): ProviderError | undefined {
  const fail = (failure: Failure, message: string, ambiguous = false) =>
    new ProviderError(failure, message, { ambiguous });
  const said = reason ? `: ${reason}` : '';
  if (status === 401) {
    return fail('CredentialsRejected', `Buildkite does not accept the API token${said}. Set a valid one, then retry`);
  }
  if (status === 403 || status === 402) {
    return fail(
      'Forbidden',
      `Buildkite does not let the token do ${describe(request)}${said}. Give it the scopes read_builds, write_builds and read_build_logs, and its user access to the pipeline`,
    );
  }
  if (status >= 500 || status === 408 || status < 200) {
    return fail('Transient', `Buildkite answered ${status} to ${describe(request)}${said}`, request.method === 'POST');
  }
  if (status < 400) {
    return fail(
      'TargetMissing',
      `Buildkite answered ${describe(request)} with a redirect. Check the API address and the slugs`,
    );
  }
  return undefined;
}

/** `message` and `errors` of an error body, in one line of bearable length. */
export function reasonIn(bytes: Buffer): string {
  const body = parseJson(bytes);
  if (typeof body !== 'object' || body === null) return '';
  const message = 'message' in body && typeof body.message === 'string' ? body.message : '';
  const errors = 'errors' in body && Array.isArray(body.errors) ? body.errors : [];
  const details = errors.flatMap((error: unknown) =>
    typeof error === 'object' && error !== null
      ? [
          Object.values(error)
            .filter((item) => typeof item === 'string')
            .join(' '),
        ]
      : [],
  );
  const line = [message, details.join(', ')].filter((part) => part !== '').join(': ');
  return line.replaceAll(/\p{Cc}+/gu, ' ').slice(0, 300);
}

/** The JSON value in a body, or undefined when it is not JSON. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
