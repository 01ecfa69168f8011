import { setTimeout as delay } from 'node:timers/promises';
import {
  Connection,
  type ConnectionOptions,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
} from '@temporalio/client';

/**
 * A connection to Temporal that is made at the first call, and may be closed at any time. The SDK tries calls again on a
 * timer, which throws where nobody can catch it when the connection has been closed meanwhile; so what is to be tried
 * again is waited for, which takes up to six seconds while Temporal is away and no time else.
 */
export function connectLazily(options: ConnectionOptions): Connection {
  const usual = defaultGrpcRetryOptions();
  let closing = false;
  let until = 0;
  const retry = makeGrpcRetryInterceptor({
    retryableDecider: (attempt, status) => !closing && usual.retryableDecider(attempt, status),
    delayFunction(attempt, status) {
      const ms = usual.delayFunction(attempt, status);
      until = Math.max(until, performance.now() + ms);
      return ms;
    },
  });
  const connection = Connection.lazy({ ...options, interceptors: [retry] });
  const close = connection.close.bind(connection);
  connection.close = async () => {
    closing = true;
    // Timers fire a little late.
    if (until > performance.now()) await delay(until - performance.now() + 100);
    await close();
  };
  return connection;
}
