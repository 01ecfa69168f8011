import type { Logger } from 'pino';
import type { Config } from '../config/index.ts';
import type { Sql } from '../store/db.ts';
import type { TemporalAt } from '../temporal/where.ts';

/** What every role is given. The role that opened something closes it; these are closed by whoever made them. */
export interface RoleDeps {
  config: Config;
  sql: Sql;
  log: Logger;
  temporal: TemporalAt;
}

/** A part of the program that runs until it is stopped. */
export interface Role {
  /** Takes nothing new, finishes what is under way, and ends. */
  stop(): Promise<void>;
  /** What it tells of itself, for `/metrics`, besides what this process counts. */
  metrics?: () => Promise<string>;
  /** Rejects when the role cannot go on by itself. Never resolves. */
  failed: Promise<never>;
}

export const neverFails = (): Promise<never> => new Promise<never>(() => {});
