import type { PipelineId } from '../pipeline/ids.ts';
import { nextEpoch, type PipelineRow } from '../store/pipelines.ts';
import { recordSpan, traceNow } from '../tracing/index.ts';
import type { Kept } from '../workflows/contract.ts';
import type { JobInput, PipelineInput } from '../workflows/messages.ts';
import type { DispatchDeps } from './dispatch-deps.ts';

export const inputFor = (deps: DispatchDeps, pipeline: PipelineId, jobs: JobInput[], epoch = 0): PipelineInput => ({
  pipeline,
  epoch,
  jobs,
  durations: deps.durations,
  logs: true,
});

/** What the workflow is told about a job: no YAML, no target. */
export const jobInput =
  ({ pollMs }: DispatchDeps) =>
  ({
    name,
    provider,
    refusal,
  }: {
    name: string;
    provider: string | null;
    refusal?: string | null | undefined;
  }): JobInput => {
    const poll = provider === null ? undefined : pollMs[provider];
    return {
      name,
      ...(poll === undefined ? {} : { pollMs: poll }),
      ...(refusal === undefined || refusal === null ? {} : { refusal }),
    };
  };

/** Starts the workflow of a pipeline again, in its next epoch, with what is stored of its jobs. */
export async function openAgain(deps: DispatchDeps, stored: PipelineRow, because: string): Promise<void> {
  const start = traceNow();
  const epoch = await nextEpoch(deps.sql, stored.id, because);
  const jobs = stored.jobs.map((job): JobInput => {
    // What is behind the times would be taken for what people were told last; the run asks for it once it is found.
    const kept = job.lost ? null : (job.state as Kept | null);
    return { ...jobInput(deps)(job), ...(kept ? { kept } : {}) };
  });
  await deps.engine.reopen(inputFor(deps, stored.id, jobs, epoch), stored);
  recordSpan({
    pipeline: stored.id,
    epoch,
    is: 'root',
    name: 'opened again',
    said: { because },
    start,
    end: traceNow(),
  });
}
