import type { Books, PushedJobOf } from './books.ts';
import { isEnd, jobKey, pipelineId } from './books.ts';
import { at, each, type Finding, type Invariant, says } from './finding.ts';
import { stuck } from './stuck.ts';

/** 6: who wonders why nothing is built can find out, wherever they look. */
export const reasons: Invariant = {
  number: 6,
  name: 'Every refusal, park and failure has a reason that people can read, and nothing is stuck without one.',
  look(books) {
    const { tables, workflows } = books.evidence;
    const unbuilt = books.jobs.filter(isUnbuilt);
    const findings = [
      ...triggers(books),
      ...each(unbuilt, (job) => reasonOf(books, job)),
      ...commands(books),
      ...stuck(books),
    ];
    const checked = tables.triggers.length + tables.jobs.length + workflows.length;
    return { checked, findings };
  },
};

const turnedAway = ['refused', 'early', 'held'];

function* triggers({ evidence }: Books): Generator<Finding> {
  for (const { knot, rkey, state, reason, received_at: when } of evidence.tables.triggers) {
    if (!turnedAway.includes(state)) continue;
    const id = pipelineId({ knot, rkey });
    if (reason === null || reason.trim() === '') {
      yield { kind: 'silent', text: `${id}, received at ${at(when)}, is ${state} without a reason.` };
    } else if (!says(evidence.shown[id] ?? '', reason)) {
      yield { kind: 'silent', text: `${id} is ${state}, and “whorl show” does not say why: ${reason}` };
    }
  }
}

/** Its present attempt has no build that could explain anything, and it is over, or waits for the operator. */
export function isUnbuilt({ row, attempts }: Pick<PushedJobOf, 'row' | 'attempts'>): boolean {
  if (!row) return false;
  const build = attempts.find(({ attempt }) => attempt === row.attempt)?.build ?? null;
  const parked = !isEnd(row.status) && row.error !== null;
  return build === null && (parked || (isEnd(row.status) && row.status !== 'success'));
}

/** The four places in which people look. */
function* reasonOf(books: Books, { pipeline, name, row, sent }: PushedJobOf): Generator<Finding> {
  if (!row) return;
  const { evidence, frames, workflows } = books;
  const what = `${pipeline} ${name}, ${row.status},`;
  const last = sent.at(-1);
  const error = last?.error ?? row.error ?? row.refusal;
  if (error === null || error.trim() === '') {
    yield { kind: 'silent', text: `${what} says nowhere why.` };
    return;
  }
  const log = evidence.tables.logs.find(
    (one) => one.pipeline === pipeline && one.job === name && one.attempt === row.attempt,
  );
  const got = frames.get(jobKey(pipeline, name))?.find(({ rkey }) => rkey === last?.rkey);
  const details = (workflows.get(pipeline) ?? []).map((one) => one.details ?? '').join('\n');
  const places = [
    // A frame that did not come at all is a matter of invariant 2.
    ['the frame that a forge gets', got ? (got.error ?? '') : error],
    ['its log', log?.text ?? ''],
    ['the details of its workflow', details],
    ['“whorl show”', evidence.shown[pipeline] ?? ''],
  ] as const;
  for (const [place, text] of places) {
    if (says(text, error)) continue;
    yield { kind: 'silent', text: `${what} does not give its reason in ${place}: ${error}` };
  }
}

function* commands({ evidence }: Books): Generator<Finding> {
  for (const { id, kind, pipeline, state, result } of evidence.tables.commands) {
    if (state === 'refused' && (result ?? '').trim() === '')
      yield { kind: 'silent', text: `${pipeline}: ${kind} ${id} was refused without a reason.` };
  }
}
