import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';
import type { FloorActivities, FloorInput } from './floor-worker.ts';

export const word = defineSignal<[string]>('word');

const acts = proxyActivities<FloorActivities>({ startToCloseTimeout: '10s' });

/** The same shape as a pipeline, with nothing in it: creates, one publish for each change, one more after a while. */
export async function floor({ id, jobs, words, resendMs }: FloorInput): Promise<void> {
  const waiting: string[] = [];
  let heard = 0;
  setHandler(word, (text) => {
    heard += 1;
    if (!text.endsWith('scheduled')) waiting.push(text);
  });
  const creates = Promise.all(Array.from({ length: jobs }, (_, job) => acts.create(id, job)));
  await acts.publish(id, ['pending']);
  const resend = condition(() => false, resendMs);
  while (heard < words || waiting.length > 0) {
    await condition(() => waiting.length > 0 || heard >= words);
    if (waiting.length > 0) await acts.publish(id, waiting.splice(0));
  }
  await creates;
  await resend;
  await acts.publish(id, ['again']);
}
