import { pino } from 'pino';
import { expect, test } from 'vitest';
import { healthRoutes } from '../../src/health/health.ts';
import { httpApp } from '../../src/health/http.ts';

const log = pino({ level: 'silent' });
const fine = async () => ({ ok: true, detail: 'the database answers' });

test('a role is ready when every check passes', async () => {
  const app = httpApp(log);
  healthRoutes(app, { database: fine, temporal: async () => ({ ok: true, detail: 'Temporal answers' }) });
  const ready = await app.inject('/readyz');
  expect(ready.statusCode).toBe(200);
  expect(ready.json()).toEqual({
    ok: true,
    checks: {
      database: { ok: true, detail: 'the database answers' },
      temporal: { ok: true, detail: 'Temporal answers' },
    },
  });
});

test('a check that fails, throws, or does not answer makes a role not ready, and says why', async () => {
  const app = httpApp(log);
  let aborted = false;
  healthRoutes(
    app,
    {
      database: fine,
      token: async () => ({ ok: false, detail: 'the token is refused: set another one' }),
      temporal: () => Promise.reject(new Error('connection refused')),
      slow: (signal) => new Promise(() => signal.addEventListener('abort', () => (aborted = true))),
    },
    { deadlineMs: 50 },
  );
  const ready = await app.inject('/readyz');
  expect(ready.statusCode).toBe(503);
  expect(ready.json()).toEqual({
    ok: false,
    checks: {
      database: { ok: true, detail: 'the database answers' },
      token: { ok: false, detail: 'the token is refused: set another one' },
      temporal: { ok: false, detail: 'connection refused' },
      slow: { ok: false, detail: 'no answer within 50 ms' },
    },
  });
  expect(aborted).toBe(true);
  expect((await app.inject('/healthz')).statusCode).toBe(200);
});

test('an error of ours is not told to the caller', async () => {
  const app = httpApp(log);
  app.get('/broken', () => Promise.reject(new Error('a secret')));
  const answer = await app.inject('/broken');
  expect(answer.statusCode).toBe(500);
  expect(answer.body).not.toContain('a secret');
});
