import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';

export const tell = defineSignal<[string]>('tell');

export interface LinkedActivities {
  echo(words: string): Promise<string>;
}

const { echo } = proxyActivities<LinkedActivities>({ startToCloseTimeout: '10 s', retry: { initialInterval: 50 } });

/** Waits to be told something, and has an activity say it. */
export async function linked(): Promise<string> {
  let told: string | undefined;
  setHandler(tell, (words) => {
    told = words;
  });
  await condition(() => told !== undefined);
  return await echo(told ?? '');
}
