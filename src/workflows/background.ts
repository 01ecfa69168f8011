import { CancellationScope } from '@temporalio/workflow';
import type { Pipeline } from './state.ts';
import { refresh } from './view.ts';

/**
 * Work beside the loops, one of a name at a time: a command may have begun what opening again begins too. The workflow
 * does not end before it has, and a cancel of the workflow is for us to carry out.
 */
export function background(p: Pipeline, name: string, work: () => Promise<unknown>): void {
  if (p.underWay.has(name)) return;
  p.underWay.add(name);
  CancellationScope.nonCancellable(work).then(() => {
    p.underWay.delete(name);
    refresh(p);
  }, p.failure.reject);
}
