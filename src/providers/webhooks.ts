import { buildkiteWebhook, type WebhookMode } from './buildkite/webhook.ts';
import type { ParseWebhook } from './provider.ts';

/** What the webhook readers need of the configuration. */
export interface WebhookOptions {
  /** `secrets`: the service's token, two while it is being changed; asked for each request. */
  buildkite?: { mode: WebhookMode; secrets: () => string[] } | undefined;
}

/** A reader for each provider that sends webhooks, by the name in the request's path. Pure. */
export function webhooks({ buildkite }: WebhookOptions): Record<string, ParseWebhook> {
  const known: Record<string, ParseWebhook> = Object.create(null);
  if (buildkite) known['buildkite'] = buildkiteWebhook(buildkite);
  return known;
}
