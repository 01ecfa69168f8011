import { httpTarget, rawHttpTarget, webhookPostsTarget } from './http.ts';
import { socketsTarget } from './sockets.ts';
import { jetstreamStreamTarget, knotStreamTarget, knotWireTarget } from './streams.ts';
import type { LiveTarget } from './target.ts';

/** What needs a spindle that runs, on a PostgreSQL. */
export const liveTargets: readonly LiveTarget[] = [
  httpTarget,
  rawHttpTarget,
  webhookPostsTarget,
  socketsTarget,
  knotStreamTarget,
  knotWireTarget,
  jetstreamStreamTarget,
];
