import type { History } from './files.ts';

type Event = NonNullable<History['events']>[number];

/**
 * What happened in a history, in words to look for: the ids and types of activities, `retried <id>` and `failed <id>`,
 * `signal <name>`, `update <name>`, `shows <search attribute>`, and the type of every event in lower case.
 */
export function traits(histories: readonly History[]): Set<string> {
  return new Set(histories.flatMap(({ events }) => [...wordsOf(events ?? [])]));
}

function* wordsOf(events: readonly Event[]): Generator<string> {
  const idOf = (scheduled: unknown): string =>
    events.find(({ eventId }) => String(eventId) === String(scheduled))?.activityTaskScheduledEventAttributes
      ?.activityId ?? '';
  for (const event of events) {
    yield typeOf(event);
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) yield* [scheduled.activityId ?? '', scheduled.activityType?.name ?? ''];
    const started = event.activityTaskStartedEventAttributes;
    if (started && (started.attempt ?? 1) > 1) yield `retried ${idOf(started.scheduledEventId)}`;
    const failed = event.activityTaskFailedEventAttributes;
    if (failed) yield `failed ${idOf(failed.scheduledEventId)}`;
    const signal = event.workflowExecutionSignaledEventAttributes;
    if (signal) yield `signal ${signal.signalName}`;
    const update = event.workflowExecutionUpdateAcceptedEventAttributes;
    if (update) yield `update ${update.acceptedRequest?.input?.name}`;
    const fields = event.upsertWorkflowSearchAttributesEventAttributes?.searchAttributes?.indexedFields;
    for (const name of Object.keys(fields ?? {})) yield `shows ${name}`;
  }
}

/** As in `activity_task_scheduled`, by the part of the event that has its attributes. */
const typeOf = (event: Event): string =>
  (Object.keys(event).find((key) => key.endsWith('EventAttributes')) ?? '')
    .replace('EventAttributes', '')
    .replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Those of the traits that none of the histories has. */
export function missingOf(has: readonly string[], histories: readonly History[]): string[] {
  const there = traits(histories);
  return has.filter((trait) => !there.has(trait));
}
