/** What a call is refused with (atproto: XRPC). `error` is a word for programs, `message` a sentence for people. */
export interface XrpcError {
  status: number;
  error: string;
  message: string;
  /** Seconds. */
  retryAfter?: number;
}

/** A call that is refused, by whoever finds out. */
export class XrpcRefusal extends Error {
  override name = 'XrpcRefusal';
  readonly refusal: XrpcError;

  constructor(refusal: XrpcError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** The input is none. */
export const invalid = (message: string): XrpcRefusal =>
  new XrpcRefusal({ status: 400, error: 'InvalidRequest', message });

/** Something that we need is away: the same call may work later. */
export const later = (message: string): XrpcRefusal =>
  new XrpcRefusal({ status: 503, error: 'InternalServerError', message, retryAfter: 5 });
