import fc from 'fast-check';
import { parseJson, reasonIn, thrownFor } from '../../src/providers/buildkite/answers.ts';
import { refOf } from '../../src/providers/buildkite/builds.ts';
import type { Answer, Http, Refusal } from '../../src/providers/buildkite/http.ts';
import { readBuilds } from '../../src/providers/buildkite/read.ts';
import { listBuilds } from '../../src/providers/buildkite/search.ts';
import { observe } from '../../src/providers/buildkite/state.ts';
import { stepsOf } from '../../src/providers/buildkite/steps.ts';
import { parseAddress, parseBuild } from '../../src/providers/buildkite/wire.ts';
import { ProviderError } from '../../src/providers/errors.ts';
import type { BuildRef, LogStep } from '../../src/providers/provider.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { apiAnswers } from '../inputs/captures.ts';
import { changedJson } from '../inputs/json.ts';
import { seedOf } from '../random.ts';
import { expect, type Target } from '../target.ts';

/** Jobs of kinds that the captured builds have none of. */
const steps = JSON.stringify({
  id: '48abd017-3fdd-499c-8fec-60ce001a27c4',
  number: 4,
  state: 'failed',
  url: 'http://127.0.0.1/v2/organizations/acme/pipelines/app/builds/4',
  meta_data: { whorl_on_block: 'pending' },
  jobs: [
    {
      id: 'a',
      type: 'script',
      name: 'test',
      command: 'make\ntest',
      state: 'failed',
      exit_status: 1,
      retried: true,
      retried_in_job_id: 'b',
    },
    {
      id: 'b',
      type: 'script',
      label: ':a: b',
      state: 'timed_out',
      retry_source: { job_id: 'a' },
      retries_count: 1,
      created_at: '2026-11-20T09:58:00.123Z',
    },
    { id: 'c', type: 'waiter', name: 'then', state: 'broken', broken_reason: 'conditions' },
    {
      id: 'd',
      type: 'manual',
      label: 'ship',
      state: 'unblocked',
      unblocked_by: { name: 'Eve' },
      unblocked_at: '2026-11-20T09:58:01Z',
    },
    {
      id: 'e',
      type: 'trigger',
      state: 'passed',
      triggered_build: { number: 3, web_url: 'https://ci.example/3' },
      started_at: '2026-11-20T09:58:02Z',
    },
    { id: 'f', type: 'script', name: 'part', parallel_group_index: 0, parallel_group_total: 3, state: 'expired' },
  ],
});

const documents = [...apiAnswers, steps];

export const answersTarget: Target = {
  name: 'api-answers',
  about: "answers of the CI's API: builds, lists, jobs, errors",
  weight: 5,
  inputs: fc.oneof(
    { weight: 4, arbitrary: changedJson(documents) },
    {
      weight: 1,
      arbitrary: changedBytes(
        documents.map((each) => Buffer.from(each)),
        {
          words: ['"state":"failed"', '"jobs":[', '"id":', 'null', '{"', '[', '\\ud83e', '<html>'],
        },
      ),
    },
  ),
  async run(input) {
    const reason = reasonIn(input);
    expect(reason.length <= 300 && !/\p{Cc}/u.test(reason), () => `the reason ${reason}`);
    thrownFor({ method: 'POST', path: ['a', 1] }, 100 + (seedOf(reason, input.length) % 500), reason);
    const body = parseJson(input);
    for (const item of Array.isArray(body) ? body.slice(0, 20) : [body]) judgeBuild(item);
    if (input.length % 4 === 0) await judgeCalls(input);
  },
};

function judgeBuild(item: unknown): void {
  const build = parseBuild(item);
  if (!build) return;
  const seen = observe(build);
  if (seen) {
    expect(Number.isFinite(seen.at), () => `the time ${seen.at}`);
    expect((seen.error ?? '').isWellFormed() && (seen.error ?? '').length < 600, () => `the reason ${seen.error}`);
  }
  const ref = refOf(build, { org: 'acme', pipeline: 'app' });
  expect(
    parseAddress(JSON.parse(JSON.stringify(ref.data))) !== undefined,
    () => `nobody can read ${JSON.stringify(ref)}`,
  );
  for (const step of stepsOf(build)) judgeStep(step);
}

function judgeStep({ name, command, remark, startedAt, endedAt }: LogStep): void {
  expect(name !== '' && name.length < 400, () => `a name of ${name.length} characters`);
  for (const text of [name, command ?? '', remark ?? '']) {
    // oxlint-disable-next-line no-control-regex -- this is what it is about
    expect(text.isWellFormed() && !/[\x00-\x1f\x7f-\x9f]/.test(text) && text.length < 1_000, () =>
      JSON.stringify(text),
    );
  }
  expect(
    [startedAt, endedAt].every((at) => at === undefined || Number.isFinite(at)),
    () => 'a time that is none',
  );
}

const refs = Array.from({ length: 7 }, (_, n): BuildRef => ({
  id: n === 0 ? '48abd017-3fdd-499c-8fec-60ce001a27c4' : `other-${n}`,
  number: n + 1,
  url: null,
  data: { org: 'acme', pipeline: 'app' },
}));

/** The calls that read such answers fail as every call may, and in no other way. */
async function judgeCalls(bytes: Buffer): Promise<void> {
  const { signal } = new AbortController();
  const answer: Answer | Refusal =
    bytes.length % 28 === 0 ? { status: 404, reason: reasonIn(bytes) } : { status: 200, bytes };
  const http: Http = {
    call: async () => answer,
    stream: () => Promise.reject(new ProviderError('Transient', 'nothing is streamed here')),
    limits: () => ({ remaining: null, limit: null, resetAt: null }),
  };
  try {
    const built = await readBuilds(http, refs.slice(0, bytes.length % 8 === 0 ? 1 : 7), () => {}, signal);
    expect(
      built.every(({ seen }) => seen.build !== ''),
      () => 'a build without a name',
    );
    const list = { org: 'acme', query: {}, key: 'k', priority: 'read', signal } as const;
    for await (const build of listBuilds(http, list)) expect(build.id !== '', () => 'a build without an id');
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    expect(error.message.length < 1_000, () => `a message of ${error.message.length} characters`);
  }
}
