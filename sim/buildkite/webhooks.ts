import { createHmac, randomUUID } from 'node:crypto';
import { addressOf } from './faults.ts';
import type { Faults } from './faults.ts';
import { hookBody, organizationObject } from './objects.ts';
import type { Build, BuildEvent, Delivery, HookEvent, Job, User } from './types.ts';
import type { World } from './world.ts';

/** Where webhooks go, and how they prove that they are Buildkite's. */
export interface WebhookSettings {
  readonly url: string;
  /** `token`: the secret in clear in a header; `signature`: an HMAC with it. */
  readonly mode: 'token' | 'signature';
  /** A function is asked for each webhook as it is sent. */
  readonly secret: string | (() => string);
  /** Unset: every build and job event. */
  readonly events?: readonly BuildEvent[];
  /** Unset: every organisation, though the real one is per organisation. */
  readonly organizations?: readonly string[];
  /** Adds a top-level `organization`, which recorded payloads do not have. */
  readonly organization?: boolean;
  /** `dispatch`: the body shows the build as it is when sent, maybe later than the event's name says. Default `event`. */
  readonly render?: 'event' | 'dispatch';
  /** Milliseconds until a request is given up; default 5000, as seen with the real one. */
  readonly timeout?: number;
}

export interface Webhook {
  readonly id: string;
  /** Sends what the real one sends when its settings change. */
  ping(): Delivery;
  remove(): void;
}

/** Sends webhooks: per build in order, one at a time, never again. */
export interface Webhooks {
  readonly deliveries: Delivery[];
  /** True when one of this event of a build is done. */
  wasDone(build: string, event: BuildEvent): boolean;
  /** How many are not done. */
  readonly pending: number;
  add(settings: WebhookSettings): Webhook;
  emit(event: BuildEvent, build: Build, job?: Job): void;
  close(): void;
}

/**
 * The value of `X-Buildkite-Signature`: HMAC-SHA256 in lower-case hex over `<unix seconds>.<raw body>`, with the secret's
 * bytes as key (Buildkite's documentation of webhooks).
 */
export function signature(secret: string, timestamp: number, body: string): string {
  const hex = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
  return `timestamp=${timestamp},signature=${hex}`;
}

interface Entry {
  readonly hook: WebhookSettings;
  readonly delivery: Delivery;
  readonly render: () => string;
}

/** Makes the sender of a world's webhooks. `sender` is who made the webhook, not who acted. */
export function createWebhooks(
  world: World,
  faults: Faults,
  sender: User,
  onDone: (delivery: Delivery) => void,
  keepBodies = true,
): Webhooks {
  const hooks = new Map<string, WebhookSettings>();
  const deliveries: Delivery[] = [];
  const queues = new Map<string, Promise<void>>();
  const collected = new Map<string, Entry[]>();
  const timers = new Set<NodeJS.Timeout>();
  const closing = new AbortController();
  const eventsDone = new Map<string, Set<HookEvent>>();
  let done = 0;

  const send = async ({ hook, delivery, render }: Entry): Promise<void> => {
    if (closing.signal.aborted) return;
    const now = world.now();
    delivery.body = render();
    const secret = typeof hook.secret === 'string' ? hook.secret : hook.secret();
    // Signed when sent, not when it happened: a late delivery carries a fresh timestamp.
    delivery.headers = {
      'Content-Type': 'application/json',
      'User-Agent': 'Buildkite-Request',
      'X-Buildkite-Event': delivery.event,
      'X-Buildkite-Request': delivery.requestId,
      ...(hook.mode === 'token'
        ? { 'X-Buildkite-Token': secret }
        : { 'X-Buildkite-Signature': signature(secret, Math.floor(now / 1000), delivery.body) }),
    };
    delivery.sentAt = now;
    delivery.outcome = 'sending';
    try {
      const response = await fetch(hook.url, {
        method: 'POST',
        headers: delivery.headers,
        body: delivery.body,
        redirect: 'manual',
        signal: AbortSignal.any([closing.signal, AbortSignal.timeout(hook.timeout ?? 5000)]),
      });
      await response.arrayBuffer();
      delivery.status = response.status;
      delivery.outcome = 'answered';
    } catch (error) {
      delivery.outcome = 'failed';
      delivery.error = reasonOf(error, hook.timeout ?? 5000);
    }
    finish(delivery);
  };

  const wasDone = (build: string, event: HookEvent): boolean => eventsDone.get(build)?.has(event) ?? false;

  const finish = (delivery: Delivery): void => {
    onDone(delivery);
    done++;
    if (delivery.build) {
      const events = eventsDone.get(delivery.build.id) ?? new Set();
      eventsDone.set(delivery.build.id, events.add(delivery.event));
    }
    if (!keepBodies) Object.assign(delivery, { body: '', headers: {} });
    world.signal.notify();
  };

  /** Puts it behind what waits for the same build at the same address. */
  const queue = (entry: Entry, before?: Promise<unknown>): void => {
    const key = `${entry.delivery.hook} ${entry.delivery.build?.id ?? 'ping'}`;
    const turn = async (): Promise<void> => {
      await before;
      await send(entry);
    };
    const last = (queues.get(key) ?? Promise.resolve()).then(turn, turn).finally(() => {
      if (queues.get(key) === last) queues.delete(key);
    });
    queues.set(key, last);
  };

  const dispatch = (entry: Entry): void => {
    const { delivery } = entry;
    const action = faults.forWebhook(delivery);
    if (!action) return queue(entry);
    delivery.fault = action.name;
    switch (action.kind) {
      case 'lose':
        delivery.outcome = 'lost';
        return finish(delivery);
      case 'double': {
        queue(entry);
        const twin = { ...delivery, n: deliveries.length + 1 };
        deliveries.push(twin);
        return queue({ ...entry, delivery: twin });
      }
      case 'late': {
        const timer = setTimeout(() => {
          timers.delete(timer);
          void send(entry);
        }, action.ms());
        timers.add(timer);
        return undefined;
      }
      case 'after': {
        const passed = (): boolean => wasDone(delivery.build?.id ?? '', action.event);
        void world.signal.until(passed, `${action.event} to be delivered first`, 600_000).then(
          () => send(entry),
          () => undefined,
        );
        return undefined;
      }
      case 'reverse': {
        const key = `${delivery.hook} ${delivery.build?.id ?? ''}`;
        const held = [entry, ...(collected.get(key) ?? [])];
        if (held.length < action.count) return void collected.set(key, held);
        collected.delete(key);
        for (const one of held) queue(one);
        return undefined;
      }
      case 'gate':
        action.arrived(delivery);
        return queue(entry, action.gate.opened);
    }
  };

  const post = (id: string, hook: WebhookSettings, event: HookEvent, about: Partial<Delivery>, make: () => unknown) => {
    const early = hook.render === 'dispatch' ? undefined : JSON.stringify(make());
    const delivery: Delivery = {
      n: deliveries.length + 1,
      hook: id,
      url: hook.url,
      event,
      build: null,
      job: null,
      requestId: randomUUID(),
      at: world.now(),
      headers: {},
      body: early ?? '',
      sentAt: null,
      status: null,
      outcome: 'waiting',
      error: null,
      fault: null,
      ...about,
    };
    deliveries.push(delivery);
    dispatch({ hook, delivery, render: () => early ?? JSON.stringify(make()) });
    world.signal.notify();
    return delivery;
  };

  return {
    deliveries,
    wasDone,
    get pending() {
      return deliveries.length - done;
    },
    add(settings) {
      const id = randomUUID();
      hooks.set(id, settings);
      return {
        id,
        ping: () =>
          post(id, settings, 'ping', {}, () => ({
            event: 'ping',
            service: { id, provider: 'webhook', settings: { url: settings.url } },
            organization: organizationObject(
              world,
              settings.organizations?.[0] ?? [...world.organizations.keys()][0] ?? '',
            ),
            sender: { id: sender.id, name: sender.name },
          })),
        remove: () => void hooks.delete(id),
      };
    },
    emit(event, build, job) {
      for (const [id, hook] of hooks) {
        if (hook.events && !hook.events.includes(event)) continue;
        if (hook.organizations && !hook.organizations.includes(build.org)) continue;
        post(id, hook, event, { build: addressOf(build), job: job?.id ?? null }, () =>
          hookBody(world, { event, build, ...(job ? { job } : {}), sender, organization: hook.organization ?? false }),
        );
      }
    },
    close() {
      closing.abort();
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function reasonOf(error: unknown, timeout: number): string {
  if (error instanceof Error && error.name === 'TimeoutError') {
    return `Timed out waiting to read from the connection (timeout was ${timeout / 1000} seconds)`;
  }
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message || cause.name : String(cause);
}
