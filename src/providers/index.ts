import { buildkite, type BuildkiteOptions } from './buildkite/client.ts';
import { fakeProvider, type FakeOptions } from './fake/fake.ts';
import type { Provider } from './provider.ts';

export interface ProviderOptions {
  buildkite?: BuildkiteOptions | undefined;
  fake?: FakeOptions | undefined;
}

/** Every provider that is configured, by name; `fake` always is. */
export function providers(options: ProviderOptions): Record<string, Provider> {
  const known: Record<string, Provider> = Object.create(null);
  if (options.buildkite) known['buildkite'] = buildkite(options.buildkite);
  known['fake'] = fakeProvider(options.fake);
  return known;
}
