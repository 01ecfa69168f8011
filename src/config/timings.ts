import { duration, durations } from './duration.ts';
import type { Setting } from './setting.ts';

/** The durations of a pipeline. They reach its workflow as input, so a change holds for pipelines that start after it. */
export const timings = {
  silenceFirst: {
    name: 'WHORL_SILENCE_FIRST',
    group: 'Timing',
    form: duration(),
    default: '2m',
    description: 'How long a build may be silent before the CI is asked. Doubles with each answer that holds no news.',
    example: '1m',
  },
  silenceMax: {
    name: 'WHORL_SILENCE_MAX',
    group: 'Timing',
    form: duration(),
    default: '1h',
    description: 'The longest silence between two questions.',
    example: '30m',
  },
  buildDeadline: {
    name: 'WHORL_BUILD_DEADLINE',
    group: 'Timing',
    form: duration(),
    default: '24h',
    description: 'How long a build may take. Then it is cancelled, and its status is `timeout`.',
    example: '6h',
  },
  parkLimit: {
    name: 'WHORL_PARK_LIMIT',
    group: 'Timing',
    form: duration(),
    default: '72h',
    description: 'How long a step waits for its operator (`whorl retry`) before its job is `failed`.',
    example: '24h',
  },
  resend: {
    name: 'WHORL_RESEND_AFTER',
    group: 'Timing',
    form: duration(),
    default: '45s',
    description:
      'When, after the first status, the latest status of each job is sent once more: appviews drop one that comes before its pipeline.',
    example: '1m',
  },
  cancelConfirm: {
    name: 'WHORL_CANCEL_CONFIRM',
    group: 'Timing',
    form: duration(),
    default: '2m',
    description: 'How long the CI has to confirm a cancel before its failure is reported.',
    example: '5m',
  },
  sweeps: {
    name: 'WHORL_SWEEP_AFTER',
    group: 'Timing',
    form: durations,
    default: '1m,5m,30m',
    description: 'How long after a create whose answer was lost the CI is searched again for its build.',
    example: '1m,10m',
  },
  createLooks: {
    name: 'WHORL_CREATE_LOOKS',
    group: 'Timing',
    form: durations,
    default: '2s,5s,10s,20s',
    description:
      'The waits before the searches that follow a create without an answer; only then is the CI asked again.',
    example: '2s,10s,30s',
  },
  createTimeout: {
    name: 'WHORL_CREATE_TIMEOUT',
    group: 'Timing',
    form: duration(),
    default: '30s',
    description: 'How long one attempt to create a build may take.',
    example: '1m',
  },
  readTimeout: {
    name: 'WHORL_READ_TIMEOUT',
    group: 'Timing',
    form: duration(),
    default: '60s',
    description: 'How long one attempt to read builds may take.',
    example: '2m',
  },
  publishTimeout: {
    name: 'WHORL_PUBLISH_TIMEOUT',
    group: 'Timing',
    form: duration(),
    default: '10s',
    description: 'How long one attempt to publish statuses may take.',
    example: '20s',
  },
  retryMax: {
    name: 'WHORL_RETRY_MAX',
    group: 'Timing',
    form: duration(),
    default: '2m',
    description:
      'The longest wait between two attempts of something that fails for a while, such as a CI that is away.',
    example: '30s',
  },
  fakePoll: {
    name: 'WHORL_FAKE_POLL',
    group: 'Timing',
    form: duration(),
    default: '1s',
    description: 'How often the builds of the `fake` provider are looked at.',
    example: '200ms',
  },
} as const satisfies Record<string, Setting>;
