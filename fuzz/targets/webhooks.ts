import { createHmac } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { type WebhookMode, buildkiteWebhook } from '../../src/providers/buildkite/webhook.ts';
import { parseAddress } from '../../src/providers/buildkite/wire.ts';
import type { Delivery } from '../../src/providers/provider.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { webhookBodies } from '../inputs/captures.ts';
import { texts } from '../inputs/hostile.ts';
import { changedJson } from '../inputs/json.ts';
import { expect, type Target } from '../target.ts';

const secrets = ['old-secret', 'new-secret'];
const now = Date.UTC(2026, 10, 21);

/** A request as one piece of bytes: lines of headers, an empty line, the body. */
export const requestOf = (headers: readonly string[], body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${headers.join('\n')}\n\n`), body]);

const time = fc.constantFrom(now / 1000, now / 1000 - 299, now / 1000 - 301, now / 1000 + 301, 0, -1, 1e12, 'x');
const signature = fc.oneof(
  { weight: 6, arbitrary: fc.constant('sign') },
  { weight: 1, arbitrary: fc.constantFrom('', 'f'.repeat(64), 'F'.repeat(64), 'f'.repeat(63), '0x', ...texts) },
);
const spare = fc.constantFrom(
  '',
  ',',
  ',signature=',
  ',timestamp=1',
  ' , x=y',
  '=,=',
  ','.repeat(2_000),
  '='.repeat(2_000),
);

/** Mostly what is genuine, so that the body is read; else what is nearly so. */
const headers = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...secrets).map((token) => [`x-buildkite-token: ${token}`]) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(time, signature, spare)
      .map(([at, sign, more]) => [`x-buildkite-signature: timestamp=${at},signature=${sign}${more}`]),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(
        fc.tuple(
          fc.constantFrom(
            'x-buildkite-token',
            'x-buildkite-signature',
            'x-buildkite-event',
            'x-buildkite-request',
            '__proto__',
          ),
          fc.constantFrom(...secrets, ...texts),
        ),
        { maxLength: 5 },
      )
      .map((pairs) => pairs.map(([name, value]) => `${name}: ${value.replaceAll('\n', ' ')}`)),
  },
);

const body = fc.oneof(
  { weight: 4, arbitrary: changedJson(webhookBodies) },
  {
    weight: 1,
    arbitrary: changedBytes(
      webhookBodies.map((each) => Buffer.from(each)),
      {
        words: ['"event":"job.finished"', '"state":"failed"', '"meta_data":', '\xff', '\\ud83e', '{"', '[', '\ufeff'],
      },
    ),
  },
);

export const webhooksTarget: Target = {
  name: 'webhooks',
  about: 'webhooks of the CI: headers, signatures, bodies',
  weight: 8,
  inputs: fc.tuple(headers, body).map(([lines, bytes]) => requestOf(lines, bytes)),
  run(input) {
    const end = input.indexOf('\n\n');
    const given = input.subarray(end + 2);
    const fields = headersOf(input.toString('utf8', 0, Math.max(0, end)), given);
    for (const mode of ['token', 'signature'] as const) judge(mode, fields, given);
  },
};

type Headers = Record<string, string | string[]>;

/** As Node gives them; where a signature is asked for, the true one. */
function headersOf(text: string, bytes: Uint8Array): Headers {
  const fields: Headers = {};
  for (const line of text.split('\n')) {
    const [name = '', value = ''] = line.split(': ', 2);
    const signed = value.replace(/timestamp=([^,]*),signature=sign/, (_whole, at: string) => {
      const mac = createHmac('sha256', 'new-secret').update(`${at}.`).update(bytes).digest('hex');
      return `timestamp=${at},signature=${mac}`;
    });
    fields[name] = Object.hasOwn(fields, name) ? [fields[name] ?? '', signed].flat() : signed;
  }
  return fields;
}

function judge(mode: WebhookMode, fields: Headers, bytes: Uint8Array): void {
  const read = buildkiteWebhook({ mode, secrets: () => secrets });
  const result = read(fields, bytes, now);
  if (result.kind !== 'delivery')
    return expect(result.reason.length < 400, () => `a reason of ${result.reason.length}`);
  expect(isDeepStrictEqual(read(fields, bytes, now), result), () => 'read again it is something else');
  judgeDelivery(result.delivery);
}

function judgeDelivery({ key, build, ref, seen, rebuiltFrom, event }: Delivery): void {
  // these are columns of their own, and the key is in an index
  for (const text of [key, build, rebuiltFrom ?? '', event]) {
    expect(!text.includes('\0') && text.isWellFormed() && text.length < 400, () => `PostgreSQL refuses ${text}`);
  }
  expect(parseAddress(ref.data) !== undefined && ref.number !== null, () => `nobody can read ${JSON.stringify(ref)}`);
  expect(Number.isFinite(seen.at), () => `the time ${seen.at}`);
  expect((seen.error ?? '').isWellFormed() && (seen.error ?? '').length < 600, () => `the reason ${seen.error}`);
  if (seen.step) expect(seen.step.name.isWellFormed() && seen.step.name.length < 400, () => seen.step?.name ?? '');
}
