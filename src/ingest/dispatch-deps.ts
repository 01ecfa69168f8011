import type { Logger } from 'pino';
import type { Durations } from '../pipeline/durations.ts';
import type { Planner } from '../pipeline/plan.ts';
import type { Sql } from '../store/db.ts';
import type { Engine } from './engine.ts';

/** What dispatch works with. */
export interface DispatchDeps {
  sql: Sql;
  engine: Engine;
  planners: Record<string, Planner>;
  durations: Durations;
  /** Providers that send no webhooks, and how often to read their builds, ms. */
  pollMs: Record<string, number>;
  /** How long a trigger of an unknown repository is kept, ms. */
  holdMs: number;
  /** Pipelines that are worked on at once, per share. */
  concurrency: number;
  log: Logger;
  /** How often to look without being told, ms; default 10 s. */
  pollEveryMs?: number;
}
