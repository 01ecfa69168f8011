import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { now } from './stats.ts';

export interface FloorInput {
  id: string;
  jobs: number;
  /** Signals that will come. */
  words: number;
  resendMs: number;
}

/** What the worker tells its parent, with the time at which an activity began. */
export interface FloorEvent {
  kind: 'create' | 'publish';
  id: string;
  what: string;
  at: number;
}

export type FloorActivities = typeof activities;

const tell = (event: FloorEvent): void => void process.send?.(event);

const activities = {
  async create(id: string, job: number): Promise<void> {
    tell({ kind: 'create', id, what: String(job), at: now() });
  },
  async publish(id: string, words: string[]): Promise<void> {
    const at = now();
    for (const what of words) tell({ kind: 'publish', id, what, at });
  },
};

Runtime.install({ logger: new DefaultLogger('WARN') });
const [address = '', taskQueue = ''] = process.argv.slice(2);
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address }),
  taskQueue,
  workflowsPath: fileURLToPath(new URL('./floor-workflow.ts', import.meta.url)),
  activities,
  maxCachedWorkflows: 1000,
  maxConcurrentActivityTaskExecutions: 50,
  maxConcurrentWorkflowTaskExecutions: 40,
});
process.on('disconnect', () => process.exit(0));
const running = worker.run();
process.send?.('ready');
await running;
