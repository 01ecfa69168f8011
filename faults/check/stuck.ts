import type { Crash, Disturbance, Workflow } from '../evidence.ts';
import { type Books, pipelineId } from './books.ts';
import { at, type Finding } from './finding.ts';
import { hasEnded } from './truth.ts';

/** What is still open when all is quiet, and what ended as nothing may end. */
export function* stuck(books: Books): Generator<Finding> {
  yield* rows(books);
  for (const workflow of books.evidence.workflows) yield* workflowOf(books, workflow);
  yield* missing(books);
  yield* crashes(books);
}

function* rows({ evidence, pushes }: Books): Generator<Finding> {
  const { triggers, deliveries, commands, statuses } = evidence.tables;
  for (const { knot, rkey, state, tries, reason, received_at: when } of triggers) {
    const id = pipelineId({ knot, rkey });
    // What is not served may be held for long: its record could still come.
    const waits = state === 'new' || (state === 'held' && pushes.get(id)?.served === true);
    if (waits)
      yield open(`${id} is still ${state} since ${at(when)}, after ${tries} tries: ${reason ?? 'nobody says why'}`);
  }
  for (const { key, event, build, state, reason, received_at: when } of deliveries) {
    if (state === 'new')
      yield open(
        `The webhook ${event} of build ${build} waits since ${at(when)}: ${reason ?? 'nobody says why'} (${key})`,
      );
  }
  for (const { id, kind, pipeline, state, result, received_at: when } of commands) {
    if (state === 'new' && kind !== 'watch')
      yield open(`${pipeline}: ${kind} ${id} waits since ${at(when)}: ${result ?? 'nobody says why'}`);
  }
  for (const { pipeline, job, status, rkey, state, created_at: when } of statuses) {
    if (state === 'due') yield open(`${pipeline} ${job}: ${status} (${rkey}) is withheld since ${at(when)}.`);
  }
}

const open = (text: string): Finding => ({ kind: 'open', text });

const bad = ['FAILED', 'TIMED_OUT', 'TERMINATED', 'CANCELED', 'CANCELLED'];

function* workflowOf(books: Books, workflow: Workflow): Generator<Finding> {
  const { id, runId, status, parked, pending, taskFailure, startedAt } = workflow;
  const what = `${id} (run ${runId} of ${at(startedAt)})`;
  if (taskFailure !== null) yield open(`${what}: its workflow task fails again and again: ${taskFailure}`);
  if (bad.includes(status) && !wasReset(books, workflow)) yield open(`${what} ended as ${status}.`);
  if (status !== 'RUNNING' || parked.length > 0 || waitsForTheCi(books, id)) return;
  const waits = pending.map(
    ({ activity, attempt, failure }) => `${activity}, try ${attempt}: ${failure ?? 'no failure'}`,
  );
  yield open(`${what} runs and is not parked; it waits for ${waits.join('; ') || 'nothing that Temporal knows of'}.`);
}

/** A reset, or a restore, ends a run from outside and begins another in its place. */
const wasReset = ({ workflows, evidence }: Books, { id, runId, status }: Workflow): boolean =>
  status === 'TERMINATED' &&
  evidence.disturbances.some(({ fault }) => /reset|restore/i.test(fault)) &&
  (workflows.get(id) ?? []).some((other) => other.runId !== runId && other.status !== 'TERMINATED');

/** Its build goes on at the CI, or waits there for a person. */
const waitsForTheCi = ({ evidence, builds }: Books, pipeline: string): boolean =>
  evidence.tables.attempts.some((attempt) => {
    const build = attempt.pipeline === pipeline && builds.get(attempt.build ?? '');
    return build && !hasEnded(build);
  });

function* missing({ evidence, workflows }: Books): Generator<Finding> {
  for (const { knot, rkey, state, settled_at: when } of evidence.tables.triggers) {
    const id = pipelineId({ knot, rkey });
    if (state === 'started' && !workflows.has(id))
      yield open(`${id} was started at ${at(when)}, and Temporal has no such workflow.`);
  }
}

function* crashes({ evidence }: Books): Generator<Finding> {
  for (const crash of evidence.crashes) {
    if (evidence.disturbances.some((one) => explains(one, crash))) continue;
    const { process, toldAt, at: when, code, signal, lastLines } = crash;
    const how = signal === null ? `with code ${code}` : `by ${signal}`;
    yield {
      kind: 'crash',
      text: `${process} ${toldAt === undefined ? 'ended by itself' : `was told to stop at ${at(toldAt)}, and ended`} at ${at(when)} ${how}: ${lastLines.at(-1) ?? 'without a word'}`,
    };
  }
}

const startMs = 30_000;

/**
 * A process may give up when what it needs is away at its start; later it must wait. One that is told to stop hands over
 * what it cannot end while something is away.
 */
function explains({ fault, target, from, to }: Disturbance, crash: Crash) {
  const { process, at: when, toldAt, startedAt = when - startMs } = crash;
  const away = ['postgres', 'temporal'].includes(target) || target.startsWith(`${process}/`);
  if (toldAt !== undefined) {
    const hindered = away || target === process || target === 'ci';
    return hindered && from <= when && to >= toldAt && !['drain', 'upgrade'].includes(fault);
  }
  return away && when - startedAt <= startMs && from <= when && to >= startedAt;
}
