import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client, Connection, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import type { Link } from '../../faults/contract.ts';
import { openLink } from '../../faults/links/index.ts';
import { until } from '../support/until.ts';
import { linked, tell, type LinkedActivities } from './faults-links-workflow.ts';

const address = inject('temporalAddress');
const namespace = inject('temporalNamespace');
const workflowsPath = fileURLToPath(new URL('faults-links-workflow.ts', import.meta.url));
let code = '';
let direct: Client;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
  ({ code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') }));
  const connection = await Connection.connect({ address });
  direct = new Client({ connection, namespace });
  return () => connection.close();
});

const openGrpc = async (): Promise<Link> => {
  const link = await openLink({ name: 'temporal', protocol: 'grpc', to: [address] });
  onTestFinished(() => link.close());
  return link;
};

/** A client through a link. It does not try again by itself, unless `retries`. */
async function clientOf(link: Link, retries = false): Promise<Client> {
  const connection = await Connection.connect({
    address: `127.0.0.1:${link.port}`,
    ...(retries ? {} : { interceptors: [] }),
  });
  onTestFinished(() => connection.close());
  return new Client({ connection, namespace });
}

/** A worker through a link, and what its activity was given. */
async function workerOf(link: Link, taskQueue: string): Promise<string[]> {
  const connection = await NativeConnection.connect({ address: `127.0.0.1:${link.port}` });
  const told: string[] = [];
  const activities: LinkedActivities = {
    async echo(words) {
      told.push(words);
      return words;
    },
  };
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue,
    workflowBundle: { code },
    activities,
    shutdownGraceTime: 0,
    stickyQueueScheduleToStartTimeout: '1 s',
  });
  const run = worker.run();
  onTestFinished(async () => {
    link.mend();
    worker.shutdown();
    await run;
    await connection.close();
  });
  return told;
}

const start = (client: Client, workflowId: string, taskQueue = workflowId) =>
  client.workflow.start(linked, {
    workflowId,
    taskQueue,
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
    // A task that was given to a poll which is cut off waits for this.
    workflowTaskTimeout: '2 s',
  });

const exists = (id: string): Promise<boolean> =>
  direct.workflow
    .getHandle(id)
    .describe()
    .then(
      () => true,
      (error: unknown) => {
        if (error instanceof WorkflowNotFoundError) return false;
        throw error;
      },
    );

/** Number and words of a failed call. */
const failed = async (call: Promise<unknown>): Promise<string> =>
  await call.then(
    () => 'no error',
    (error: Error) => {
      const cause = (error.cause ?? error) as Error;
      return `${'code' in cause ? String(cause.code) : ''} ${cause.message}`;
    },
  );
const unavailable = /^14 /;

test('a worker and a client do their work through a link', async () => {
  const link = await openGrpc();
  const id = `links-${randomUUID()}`;
  const told = await workerOf(link, id);
  const client = await clientOf(link);
  const handle = await start(client, id);
  expect((await handle.describe()).status.name).toBe('RUNNING');
  const words = 'ü'.repeat(500_000);
  await handle.signal(tell, words);
  expect((await handle.result()) === words).toBe(true);
  expect(told).toHaveLength(1);
  expect((await handle.describe()).status.name).toBe('COMPLETED');
  expect((await handle.fetchHistory()).events).toHaveLength(
    (await direct.workflow.getHandle(id).fetchHistory()).events?.length ?? 0,
  );
  expect(await failed(client.workflow.getHandle('there is none').describe())).toMatch(/^5 |not found/);
});

test('hundreds of calls at once are answered each with its own', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  const ids = Array.from({ length: 40 }, () => `links-${randomUUID()}`);
  await Promise.all(ids.map((id) => start(client, id)));
  const armed = link.arm({ when: 'after', what: 'call', match: /never/ }, () => 'drop');
  const all = await Promise.all(
    Array.from({ length: 800 }, async (_, n) => {
      const id = ids[n % ids.length] ?? '';
      return (await client.workflow.getHandle(id).describe()).workflowId === id;
    }),
  );
  expect(all).not.toContain(false);
  expect(link.open).toBe(1);
  armed.disarm();
});

test('a start that is dropped before it is passed on makes no workflow, and after it makes one', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  const [one, two] = [`links-${randomUUID()}`, `links-${randomUUID()}`];
  const before = link.arm({ when: 'before', what: 'call', match: /^StartWorkflowExecution$/ }, () => 'drop');
  await client.workflowService.getSystemInfo({});
  expect(await failed(start(client, one))).toMatch(unavailable);
  expect(await before.hit).toBe('StartWorkflowExecution');
  expect(await exists(one)).toBe(false);

  await start(client, one);
  const after = link.arm({ when: 'after', what: 'call', match: /^StartWorkflowExecution$/ }, () => 'drop');
  expect(await failed(start(client, two))).toMatch(unavailable);
  expect(await after.hit).toBe('StartWorkflowExecution');
  expect(await exists(two)).toBe(true);
  await expect(start(client, two)).rejects.toBeInstanceOf(WorkflowExecutionAlreadyStartedError);
});

test('a client that tries again gets over a call whose answer was dropped', async () => {
  const link = await openGrpc();
  const client = await clientOf(link, true);
  const id = `links-${randomUUID()}`;
  const hits = [1, 2].map(() => link.arm({ when: 'after', what: 'call', match: /^Start/ }, () => 'drop'));
  const handle = await start(client, id);
  expect(await Promise.all(hits.map(({ hit }) => hit))).toEqual(['StartWorkflowExecution', 'StartWorkflowExecution']);
  expect((await handle.describe()).status.name).toBe('RUNNING');
});

test('a number makes one call later, and no other', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  for (const when of ['before', 'after'] as const) {
    const id = `links-${randomUUID()}`;
    const from = performance.now();
    let made: Promise<boolean> = Promise.resolve(false);
    const armed = link.arm({ when, what: 'call', match: /^Start/ }, () => {
      made = exists(id);
      return 400;
    });
    let started = false;
    const call = start(client, id).then(() => (started = true));
    await armed.hit;
    await client.workflowService.getSystemInfo({});
    expect(started).toBe(false);
    expect(await made).toBe(when === 'after');
    await call;
    expect(performance.now() - from).toBeGreaterThanOrEqual(399);
  }
});

test('a call that the client gives up is given up at the server', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  const id = `links-${randomUUID()}`;
  const handle = await start(client, id);
  const abort = new AbortController();
  const armed = link.arm({ when: 'before', what: 'call', match: /^GetWorkflowExecutionHistory$/ }, () => 'pass');
  const wait = failed(client.connection.withAbortSignal(abort.signal, () => handle.result()));
  await armed.hit;
  abort.abort();
  expect(await wait).toMatch(/abort|cancel/i);
  expect((await handle.describe()).status.name).toBe('RUNNING');
});

test('a worker whose long polls are cut off polls again, and its workflow goes on', async () => {
  const link = await openGrpc();
  const id = `links-${randomUUID()}`;
  const polls = ['PollWorkflowTaskQueue', 'PollActivityTaskQueue'].map((name) =>
    link.arm({ when: 'before', what: 'call', match: new RegExp(`^${name}$`) }, () => 'pass'),
  );
  const told = await workerOf(link, id);
  await Promise.all(polls.map(({ hit }) => hit));
  await start(direct, id);
  for (const words of ['a cut', 'a drop']) {
    const again = link.arm({ when: 'before', what: 'call', match: /^Poll/ }, () => 'pass');
    if (words === 'a cut') expect(link.cut()).toBeGreaterThan(0);
    expect(await again.hit).toMatch(/^Poll/);
  }
  const lost = link.arm({ when: 'after', what: 'call', match: /^RespondActivityTaskCompleted$/ }, () => 'drop');
  await direct.workflow.getHandle(id).signal(tell, 'news');
  expect(await direct.workflow.getHandle(id).result()).toBe('news');
  expect(await lost.hit).toBe('RespondActivityTaskCompleted');
  expect(told).toEqual(['news']);
});

test('half open, a call is not answered; mended, the next one is', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  await client.workflowService.getSystemInfo({});
  link.halfOpen();
  const soon = (): Promise<unknown> =>
    client.connection.withDeadline(Date.now() + 300, () => client.workflowService.getSystemInfo({}));
  expect(await failed(soon())).toMatch(/^4 /);
  expect(link.open).toBe(1);
  link.mend();
  await until('an answer', async () => (await failed(soon())) === 'no error');
});

test('delay and slow hold for everything that a session carries', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  const info = (): Promise<unknown> => client.workflowService.getSystemInfo({});
  await info();
  link.delay(100);
  let from = performance.now();
  await info();
  expect(performance.now() - from).toBeGreaterThanOrEqual(199);
  link.delay(0);
  const id = `links-${randomUUID()}`;
  const handle = await start(client, id);
  link.slow(100_000);
  from = performance.now();
  await handle.signal(tell, 'x'.repeat(60_000));
  expect(performance.now() - from).toBeGreaterThanOrEqual(400);
  link.mend();
  await handle.signal(tell, 'x'.repeat(1_000_000));
});

test('without a target that takes the connection a client is refused, and finds it when it is there', async () => {
  const link = await openGrpc();
  const client = await clientOf(link);
  await client.workflowService.getSystemInfo({});
  link.to('127.0.0.1:1');
  link.cut();
  const soon = (): Promise<unknown> => client.workflowService.getSystemInfo({});
  expect(await failed(soon())).toMatch(unavailable);
  link.to('127.0.0.1:1', address);
  await until('an answer', async () => (await failed(soon())) === 'no error');
});
