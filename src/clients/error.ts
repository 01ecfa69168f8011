/** Why a call to another service gave nothing that can be used. */
export type ClientFailure =
  /** no connection, or it broke */
  | 'unreachable'
  /** no whole answer in time */
  | 'timeout'
  /** the host leads to an address that is not public */
  | 'refused-address'
  /** an answer with another status than 2xx; a redirect is one of these */
  | 'status'
  /** an answer that is not what was asked for */
  | 'garbage'
  | 'tooBig';

export interface ClientErrorDetails {
  status?: number | undefined;
  /** `error` of an XRPC error body, such as `RepoNotFound` */
  xrpcError?: string | undefined;
  /** not to be asked again before this time, by `steadyNow` */
  retryAt?: Date | undefined;
  cause?: unknown;
}

/** The message names the host and is for people. */
export class ClientError extends Error {
  override name = 'ClientError';
  readonly kind: ClientFailure;
  readonly status: number | undefined;
  readonly xrpcError: string | undefined;
  readonly retryAt: Date | undefined;

  constructor(kind: ClientFailure, message: string, details: ClientErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.kind = kind;
    this.status = details.status;
    this.xrpcError = details.xrpcError;
    this.retryAt = details.retryAt;
  }
}

/** As atproto names them, and `notfound` for what nobody knows (any more). */
export type InactiveStatus = 'deactivated' | 'takendown' | 'suspended' | 'deleted' | 'notfound';

/** A word about an account and not a failure: its records can not be had now, or never again. */
export class AccountInactive extends Error {
  override name = 'AccountInactive';
  readonly status: InactiveStatus;

  constructor(status: InactiveStatus, message: string) {
    super(message);
    this.status = status;
  }
}
