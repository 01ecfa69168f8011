import type { FastifyInstance } from 'fastify';
import type { Sql } from '../store/db.ts';

/** Says in one sentence what was found, or what is wrong and what to do. Throwing is "not ready" too. */
export type Check = (signal: AbortSignal) => Promise<{ ok: boolean; detail: string }>;

export interface HealthOptions {
  /** How long one check may take. Default 2 s. */
  deadlineMs?: number;
}

/**
 * `/healthz`: 200 as long as the process answers at all; it asks nothing of others, so that an outage of the database
 * restarts nobody. `/readyz`: 200 when every check passes, else 503; both with the finding of each check.
 */
export function healthRoutes(
  app: FastifyInstance,
  checks: Record<string, Check>,
  { deadlineMs = 2_000 }: HealthOptions = {},
): void {
  app.get('/healthz', async () => ({ ok: true }));
  app.get('/readyz', async (_request, reply) => {
    const findings = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => [name, await find(check, deadlineMs)] as const),
    );
    const ok = findings.every(([, finding]) => finding.ok);
    return reply.code(ok ? 200 : 503).send({ ok, checks: Object.fromEntries(findings) });
  });
}

async function find(check: Check, deadlineMs: number): Promise<{ ok: boolean; detail: string }> {
  const deadline = AbortSignal.timeout(deadlineMs);
  const late = new Promise<never>((_resolve, reject) => {
    deadline.addEventListener('abort', () => reject(new Error(`no answer within ${deadlineMs} ms`)), { once: true });
  });
  try {
    return await Promise.race([check(deadline), late]);
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

/** The database answers. */
export const databaseCheck =
  (sql: Sql): Check =>
  async () => {
    try {
      await sql`select 1`;
      return { ok: true, detail: 'the database answers' };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return {
        ok: false,
        detail: `the database does not answer (${why}): see that it runs, and check WHORL_DATABASE_URL`,
      };
    }
  };
