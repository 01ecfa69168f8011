import type { Build, BuildkiteSim, Job } from '../../../sim/buildkite/index.ts';
import type { CiTruth, SentDelivery } from '../../evidence.ts';

/**
 * Everything that the CI saw and did, without what nobody checks: environments, texts, addresses. It is a large message,
 * so each field counts. `foreign` are builds whose own webhooks are forgeries too.
 */
export function truthOf(
  sim: BuildkiteSim,
  forged: readonly Omit<SentDelivery, 'n'>[],
  foreign: ReadonlySet<string>,
): CiTruth {
  const sent = sim.deliveries.map(({ body: _body, headers: _headers, ...delivery }) => ({
    ...delivery,
    url: '',
    hook: '',
    forged: delivery.build !== null && foreign.has(delivery.build.id),
  }));
  const deliveries = [...sent, ...forged]
    .toSorted((a, b) => a.at - b.at)
    .map((delivery, n): SentDelivery => ({ ...delivery, n: n + 1 }));
  return { user: sim.user.id, requests: [...sim.requests], builds: sim.builds().map(buildOf), deliveries };
}

const buildOf = (build: Build): Build => ({ ...build, env: {}, message: null, jobs: build.jobs.map(jobOf) });

const jobOf = (job: Job): Job => ({ ...job, name: '', command: '' });
