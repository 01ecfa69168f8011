import {
  CancellationScope,
  condition,
  continueAsNew,
  setHandler,
  patched,
  Trigger,
  workflowInfo,
} from '@temporalio/workflow';
import { currentBuild, standing } from '../pipeline/job.ts';
import type { Status } from '../pipeline/status.ts';
import { activitiesFor } from './activities.ts';
import { adopt, adoptEarly, begin, canRerun, retry, startRerun, stop } from './builder.ts';
import { clock } from './clock.ts';
import { data, whole } from './command.ts';
import { goOnWithLog } from './log-run.ts';
import { logKeeper, watchLog } from './logs.ts';
import * as messages from './messages.ts';
import { publisher } from './publisher.ts';
import { reader } from './reader.ts';
import { hasEnded, isSaid, type JobRun, newRun, observe, takeUp } from './run.ts';
import { mustContinue, type Pipeline, requires, settled, targets } from './state.ts';
import { refresh, viewOf } from './view.ts';

/**
 * One trigger of a forge, from the first `pending` to the last status: creates a build for each job, folds what the CI
 * says, checks on the CI itself when it is silent, and publishes what changed. It needs no webhook to end right.
 */
export async function pipeline(input: messages.PipelineInput): Promise<Record<string, Status>> {
  const { cancelRequested } = CancellationScope.current();
  // Everything is made in here, or else a cancel from Temporal would break what waits instead of stopping the builds.
  return CancellationScope.nonCancellable(async () => {
    const p = open(input);
    listen(p);
    cancelRequested.catch(() => cancelJobs(p, { id: '', by: 'Temporal' }));
    return carryOut(p, input);
  });
}

async function carryOut(p: Pipeline, input: messages.PipelineInput): Promise<Record<string, Status>> {
  if (input.epoch > 0 && !input.carried && !(await resume(p))) return {};
  for (const run of p.runs) begin(p, run);
  refresh(p);

  for (const loop of [publisher, reader, clock, logKeeper]) loop(p).catch(p.failure.reject);
  await Promise.race([p.failure, condition(() => settled(p) || mustContinue(p))]);
  p.closing = true;
  if (!settled(p)) await continueAsNew<typeof pipeline>({ ...input, carried: carry(p) });
  return Object.fromEntries(p.runs.map((run) => [run.name, standing(run.job).status]));
}

function open(input: messages.PipelineInput): Pipeline {
  const { carried, durations } = input;
  return {
    id: input.pipeline,
    durations,
    logs: input.logs ?? false,
    acts: activitiesFor(durations),
    epoch: carried?.epoch ?? input.epoch,
    runs: carried?.runs.map(goOn) ?? input.jobs.map((job) => newRun(job, Date.now(), durations.silence)),
    firstShown: carried?.firstShown ?? null,
    resent: carried?.resent ?? input.epoch > 0,
    resendDue: false,
    publishing: false,
    reading: false,
    underWay: new Set(),
    expecting: input.epoch > 0 && !carried ? Date.now() + durations.reopenGrace : null,
    closing: false,
    parkedCauses: '',
    heard: 0,
    scopes: new Map(),
    failure: new Trigger(),
  };
}

/** A last search that continue-as-new broke off is made again. */
const goOn = (run: JobRun): JobRun => ({
  ...run,
  step: run.step ?? null,
  log: goOnWithLog(run.job, run.log),
  creating: null,
  doubts: run.doubts.map((doubt) => (doubt.due.length > 0 ? doubt : { ...doubt, due: [Date.now()] })),
});

const carry = (p: Pipeline): messages.Carried => ({
  epoch: p.epoch,
  runs: p.runs,
  firstShown: p.firstShown,
  resent: p.resent,
});

/** Handlers fold and do nothing else; the loops see what changed. */
function listen(p: Pipeline): void {
  setHandler(
    messages.notices,
    (notices) => {
      p.expecting = null;
      p.heard += 1;
      for (const notice of notices) hear(p, notice);
      refresh(p);
    },
    { description: 'What the CI told by webhook.' },
  );
  setHandler(
    messages.watch,
    ({ job }) => {
      for (const run of targets(p, job)) watchLog(run);
    },
    { description: 'Somebody reads the log of a job: {"job": name}. It is followed for as long.' },
  );
  setHandler(messages.cancel, (command) => shown(p, cancelJobs(p, whole(command))), {
    description: `Stop the builds of one job, or of all that have not ended. ${data}`,
    validator: (command: messages.LooseCommandInput) =>
      requires(p, command?.job, (run) => !hasEnded(run), 'has already ended'),
  });
  setHandler(messages.rerun, (command) => shown(p, startRerun(p, whole(command))), {
    description: `Run one ended job again as a new attempt, or all that have ended. ${data}`,
    validator: (command: messages.LooseCommandInput) =>
      requires(p, command?.job, canRerun, 'cannot run again: it has not ended, or its workflow file is wrong'),
  });
  setHandler(messages.retryStep, (command) => shown(p, retry(p, whole(command))), {
    description: `Try a parked step again, of one job or of all that wait. ${data}`,
    validator: (command: messages.LooseCommandInput) =>
      requires(p, command?.job, (run) => run.parked !== null, 'is not parked'),
  });
  setHandler(messages.view, () => viewOf(p), { description: 'Where every job stands.' });
}

/** What a command did is seen in the Temporal UI at once. */
function shown(p: Pipeline, answer: string): string {
  refresh(p);
  return answer;
}

function hear(p: Pipeline, { job, seen, rebuild }: messages.Notice): void {
  const run = p.runs.find(({ name }) => name === job);
  if (!run) return;
  if (rebuild) adopt(p, run, rebuild);
  p.epoch = observe(run, seen, 'notice', { epoch: p.epoch, now: Date.now(), unsure: p.durations.unsure });
  run.quiet = run.pollMs ?? p.durations.silence;
  if (seen.step) run.step = seen.step;
  if (seen.step?.state === 'ended') run.log.wanted = true;
  const known = Object.values(run.job.bound).includes(seen.build);
  if (!known && run.creating !== null) run.searchAt ??= Date.now() + p.durations.searchGrace;
}

function cancelJobs(p: Pipeline, { job, by, reason }: messages.CommandInput): string {
  p.expecting = null;
  p.heard += 1;
  const stopped = targets(p, job).filter((run) => !hasEnded(run));
  for (const run of stopped) stop(p, run, 'cancel', by, reason);
  return `Cancelling ${stopped.map(({ name }) => name).join(', ')}.`;
}

/**
 * A pipeline that is opened again takes up what is stored and asks the CI before it believes anything. An epoch that
 * another run has claimed is not ours: end at once, unless somebody has spoken to us meanwhile.
 */
async function resume(p: Pipeline): Promise<boolean> {
  const { originalExecutionRunId: token } = workflowInfo();
  let found = await p.acts.reopen({ pipeline: p.id, epoch: p.epoch, token });
  if (!found.claimed && p.heard > 0)
    found = await p.acts.reopen({ pipeline: p.id, epoch: p.epoch, token, fresh: true });
  if (!found.claimed) return false;
  p.epoch = Math.max(p.epoch, found.epoch);
  for (const { name, kept, shown, brought } of found.jobs) {
    const run = p.runs.find((candidate) => candidate.name === name);
    const unsaid = kept && shown !== undefined && !isSaid(kept, shown) && patched('says-what-was-not-shown');
    if (run && kept) takeUp(run, kept, unsaid ? shown : undefined);
    if (run && brought) run.log.brought = brought;
    if (run) adoptEarly(p, run);
  }
  for (const run of p.runs) run.wantRead ||= currentBuild(run.job) !== undefined;
  return true;
}
