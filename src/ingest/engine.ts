import {
  type Client,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType, TypedSearchAttributes } from '@temporalio/common';
import { secondsSince } from '../metrics/bounded.ts';
import { temporalCalls } from '../metrics/index.ts';
import { traced } from '../tracing/index.ts';
import { cutBytes, inMarkdown, summaryBytes } from '../pipeline/inert.ts';
import type { PipelineRow } from '../store/pipelines.ts';
import type { CommandInput, Notice, PipelineInput } from '../workflows/messages.ts';

/** Temporal as dispatch needs it: every call has a deadline, and what may be answered twice is success. */
export interface Engine {
  /** Starts the workflow of a trigger. One that runs or ran already is success. */
  start(input: PipelineInput, about: About): Promise<void>;
  /** Starts it again under its id, in its next epoch. One that runs already is success. */
  reopen(input: PipelineInput, about: About): Promise<void>;
  /** False when no such workflow is running. */
  notify(pipeline: string, notices: Notice[]): Promise<boolean>;
  /** Tells that somebody reads the log of a job. False when no such workflow is running. */
  watch(pipeline: string, job: string): Promise<boolean>;
  /** Carries a command there; the same id is carried once. */
  command(pipeline: string, kind: 'cancel' | 'rerun' | 'retry', command: CommandInput): Promise<Answered>;
}

export type Answered = { kind: 'done'; result: string } | { kind: 'refused'; result: string } | { kind: 'closed' };

export type About = Pick<PipelineRow, 'knot' | 'did' | 'repo' | 'kind' | 'commit' | 'branch' | 'title'>;

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);
const attributes = {
  knot: keyword('Knot'),
  repo: keyword('Repo'),
  commit: keyword('Commit'),
  branch: keyword('Branch'),
  trigger: keyword('Trigger'),
};

const updates = { cancel: 'cancel', rerun: 'rerun', retry: 'retryStep' } as const;

export function engine(client: Client, taskQueue: string, deadlineMs = 10_000): Engine {
  const timed = async <T>(name: string, call: () => Promise<T>): Promise<T> => {
    const began = performance.now();
    const count = (outcome: string): void => temporalCalls.observe({ call: name, outcome }, secondsSince(began));
    try {
      const ask = () => client.connection.withDeadline(Date.now() + deadlineMs, call);
      const value = await traced({ name: `temporal ${name}`, kind: 'client' }, ask);
      count('done');
      return value;
    } catch (error) {
      count('failed');
      throw error;
    }
  };

  const start = (input: PipelineInput, about: About, again: boolean): Promise<void> =>
    timed(again ? 'reopen' : 'start', async () => {
      try {
        await client.workflow.start('pipeline', {
          taskQueue,
          workflowId: input.pipeline,
          args: [input],
          workflowIdReusePolicy: again ? 'ALLOW_DUPLICATE' : 'REJECT_DUPLICATE',
          staticSummary: inMarkdown(`${about.repo}: ${about.title}`, summaryBytes),
          typedSearchAttributes: new TypedSearchAttributes([
            { key: attributes.knot, value: keywordOf(about.knot) },
            { key: attributes.repo, value: keywordOf(`${about.did}/${about.repo}`) },
            { key: attributes.commit, value: keywordOf(about.commit) },
            { key: attributes.branch, value: keywordOf(about.branch) },
            { key: attributes.trigger, value: keywordOf(about.kind) },
          ]),
        });
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      }
    });

  const signal = (pipeline: string, name: string, value: unknown): Promise<boolean> =>
    timed(name, async () => {
      try {
        await client.workflow.getHandle(pipeline).signal(name, value);
        return true;
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return false;
        throw error;
      }
    });

  return {
    start: (input, about) => start(input, about, false),
    reopen: (input, about) => start(input, about, true),

    notify: (pipeline, notices) => signal(pipeline, 'notices', notices),
    watch: (pipeline, job) => signal(pipeline, 'watch', { job }),

    command: (pipeline, kind, command) =>
      timed(kind, async () => {
        try {
          const result = await client.workflow
            .getHandle(pipeline)
            .executeUpdate<string, [CommandInput]>(updates[kind], { args: [command], updateId: command.id });
          return { kind: 'done', result };
        } catch (error) {
          if (error instanceof WorkflowNotFoundError) return { kind: 'closed' };
          if (error instanceof WorkflowUpdateFailedError)
            return { kind: 'refused', result: error.cause?.message ?? error.message };
          throw error;
        }
      }),
  };
}

/** A keyword of more cannot be stored in Temporal's SQL visibility. */
const keywordOf = (text: string): string => cutBytes(text, 255);
