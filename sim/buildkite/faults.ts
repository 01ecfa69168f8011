import { setTimeout as wait } from 'node:timers/promises';
import { createGate } from './signal.ts';
import type { Gate, Signal } from './signal.ts';
import type { Build, BuildEvent, Delivery, HookEvent, RequestRecord, RouteName } from './types.ts';

/** Which requests a rule acts on; every given part must fit. */
export interface RequestMatch {
  readonly route?: RouteName | readonly RouteName[];
  /** `org/slug`. */
  readonly pipeline?: string;
  /** A part of the path with its query, or a pattern. */
  readonly path?: string | RegExp;
  readonly where?: (request: Readonly<RequestRecord>) => boolean;
}

/** Which webhooks a rule acts on. */
export interface HookMatch {
  readonly event?: HookEvent | readonly HookEvent[];
  /** Build id. */
  readonly build?: string;
  readonly where?: (delivery: Readonly<Delivery>) => boolean;
}

/** An answer in the place of the route's own. */
export interface OtherAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

/** The beginning of the route's own answer, so many bytes of its body; then the socket is cut, or nothing comes. */
export interface PartAnswer {
  readonly bytes: number;
  readonly rest: 'cut' | 'silence';
}

/** What an action may make of an answer; `lose` destroys the socket, nothing leaves it as it is. */
export type Verdict = OtherAnswer | PartAnswer | 'lose' | undefined;

/** What happens to one request: before the work (a verdict prevents it) or after it (a verdict hides it). */
export interface RequestAction {
  readonly name: string;
  before?(
    request: RequestRecord,
  ): Promise<OtherAnswer | 'lose' | undefined> | OtherAnswer | 'lose' | undefined | Promise<void>;
  after?(request: RequestRecord): Promise<Verdict> | Verdict | Promise<void>;
}

/** What happens to one webhook. Built by the functions below. */
export type HookAction =
  | { readonly name: string; readonly kind: 'lose' }
  | { readonly name: string; readonly kind: 'double' }
  | { readonly name: string; readonly kind: 'late'; readonly ms: () => number }
  | { readonly name: string; readonly kind: 'after'; readonly event: BuildEvent }
  | { readonly name: string; readonly kind: 'reverse'; readonly count: number }
  | {
      readonly name: string;
      readonly kind: 'gate';
      readonly arrived: (delivery: Delivery) => void;
      readonly gate: Gate;
    };

/** Accepts the request, does the work, and destroys the socket instead of answering. */
export const loseAnswer = (): RequestAction => ({ name: 'answer lost', after: () => 'lose' });

/** Destroys the socket before any work. */
export const refuse = (): RequestAction => ({ name: 'refused', before: () => 'lose' });

/** Sends the beginning of the answer, so many bytes of its body, and then destroys the socket. */
export const cut = (bytes: number): RequestAction => ({
  name: `answer cut after ${bytes} bytes`,
  after: () => ({ bytes, rest: 'cut' }),
});
/** The same, but then sends nothing more, and keeps the socket until the other side has enough. */
export const hang = (bytes: number): RequestAction => ({
  name: `answer hangs after ${bytes} bytes`,
  after: () => ({ bytes, rest: 'silence' }),
});

/** Answers with this status; `accepted`: after doing the work all the same. */
export function answer(
  status: number,
  options: { accepted?: boolean; body?: unknown; headers?: Record<string, string> } = {},
): RequestAction {
  const body = options.body ?? { message: usualMessage(status) };
  const verdict = { status, body, ...(options.headers ? { headers: options.headers } : {}) };
  const name = `answer ${status}${options.accepted ? ', yet accepted' : ''}`;
  return options.accepted ? { name, after: () => verdict } : { name, before: () => verdict };
}

/** Answers 429 as Buildkite does, with `reset` seconds to wait. */
export function rateLimited(reset = 1, scope: 'rest' | 'rest_user' = 'rest_user'): RequestAction {
  const limit = scope === 'rest' ? 200 : 50;
  const prefix = scope === 'rest' ? 'RateLimit' : 'RateLimit-User';
  return answer(429, {
    headers: { [`${prefix}-Remaining`]: '0', [`${prefix}-Reset`]: String(reset), [`${prefix}-Warning`]: 'exceeded' },
    body: {
      message: `You have exceeded your API rate limit. Please wait ${reset} seconds before making more requests.`,
      scope,
      limit,
      current: limit + 1,
      reset,
    },
  });
}

/** Waits before the answer (the work is done first), or before the work. */
export function slow(ms: number, options: { before?: boolean } = {}): RequestAction {
  const pause = async (): Promise<void> => {
    await wait(ms, undefined, { ref: false });
  };
  const name = `slow by ${ms} ms`;
  return options.before ? { name, before: pause } : { name, after: pause };
}

/** Never sends it. */
export const lose = (): HookAction => ({ name: 'lost', kind: 'lose' });
/** Sends it twice, with the same `X-Buildkite-Request`. */
export const double = (): HookAction => ({ name: 'doubled', kind: 'double' });
/** Sends it `ms` later, and lets what follows pass it. A function is asked for each. */
export const late = (ms: number | (() => number)): HookAction =>
  typeof ms === 'number'
    ? { name: `late by ${ms} ms`, kind: 'late', ms: () => ms }
    : { name: 'late', kind: 'late', ms };
/** Sends it only when that event of the same build was delivered. */
export const after = (event: BuildEvent): HookAction => ({ name: `after ${event}`, kind: 'after', event });
/** Collects so many matching webhooks of one build, then sends them last first. Give the rule as many times. */
export const reverse = (count: number): HookAction => ({ name: `reversed by ${count}`, kind: 'reverse', count });

/** A rule that waits for what it matches. */
export interface Rule {
  /** How often it acted. */
  readonly hits: number;
  remove(): void;
}

/** The rules in force. The oldest that fits and has not acted often enough acts; the others stay as they are. */
export interface Faults {
  onRequest(match: RequestMatch, actions: RequestAction | readonly RequestAction[], times?: number | 'always'): Rule;
  onWebhook(match: HookMatch, action: HookAction, times?: number | 'always'): Rule;
  forRequest(request: RequestRecord): readonly RequestAction[];
  forWebhook(delivery: Delivery): HookAction | undefined;
  /** Removes every rule and opens every gate. */
  clear(): void;
  gate(): Gate;
}

/** Makes an empty set of rules. */
export function createFaults(): Faults {
  const requests = ruleSet<RequestMatch, RequestRecord, readonly RequestAction[]>(fitsRequest);
  const hooks = ruleSet<HookMatch, Delivery, HookAction>(fitsHook);
  const gates = new Set<Gate>();
  return {
    onRequest: (match, actions, times = 1) => requests.add(match, 'length' in actions ? actions : [actions], times),
    onWebhook: (match, action, times = 1) => hooks.add(match, action, times),
    forRequest: (request) => requests.take(request) ?? [],
    forWebhook: (delivery) => hooks.take(delivery),
    gate() {
      const gate = createGate();
      gates.add(gate);
      return gate;
    },
    clear() {
      requests.clear();
      hooks.clear();
      for (const gate of gates) gate.open();
      gates.clear();
    },
  };
}

/** Holds an answer until those webhooks of the request's build were answered (or lost). */
export function afterWebhooks(
  signal: Signal,
  wasDone: (build: string, event: BuildEvent) => boolean,
  events: readonly BuildEvent[],
): RequestAction {
  return {
    name: `answer after ${events.join(', ')}`,
    async after(request) {
      const id = request.build?.id;
      if (id === undefined) return;
      await signal.until(
        () => events.every((event) => wasDone(id, event)),
        `the webhooks ${events.join(', ')} of build ${id}`,
        60_000,
      );
    },
  };
}

/** The address of a build, as the truth log keeps it. */
export const addressOf = (build: Readonly<Build>): { id: string; org: string; pipeline: string; number: number } => ({
  id: build.id,
  org: build.org,
  pipeline: build.pipeline,
  number: build.number,
});

function ruleSet<Match, Subject, Action>(fits: (match: Match, subject: Subject) => boolean) {
  let rules: { match: Match; action: Action; left: number; hits: number }[] = [];
  return {
    add(match: Match, action: Action, times: number | 'always'): Rule {
      const rule = { match, action, left: times === 'always' ? Infinity : times, hits: 0 };
      rules.push(rule);
      return {
        get hits() {
          return rule.hits;
        },
        remove() {
          rules = rules.filter((one) => one !== rule);
        },
      };
    },
    take(subject: Subject): Action | undefined {
      const rule = rules.find((one) => one.left > 0 && fits(one.match, subject));
      if (!rule) return undefined;
      rule.left--;
      rule.hits++;
      return rule.action;
    },
    clear() {
      rules = [];
    },
  };
}

function fitsRequest(match: RequestMatch, request: RequestRecord): boolean {
  if (match.route !== undefined && (request.route === null || ![match.route].flat().includes(request.route))) {
    return false;
  }
  if (match.pipeline !== undefined) {
    const [org, slug] = match.pipeline.split('/');
    if (!request.path.startsWith(`/v2/organizations/${org}/pipelines/${slug}/`)) return false;
  }
  if (typeof match.path === 'string' && !request.path.includes(match.path)) return false;
  if (match.path instanceof RegExp && !match.path.test(request.path)) return false;
  return match.where?.(request) ?? true;
}

function fitsHook(match: HookMatch, delivery: Delivery): boolean {
  if (match.event !== undefined && ![match.event].flat().includes(delivery.event)) return false;
  if (match.build !== undefined && delivery.build?.id !== match.build) return false;
  return match.where?.(delivery) ?? true;
}

function usualMessage(status: number): string {
  if (status === 401) return AUTHENTICATION_REQUIRED;
  if (status === 403) return 'Forbidden';
  if (status === 404) return 'Not Found';
  return status >= 500 ? 'Internal Server Error' : 'The request was refused';
}

/** What Buildkite says to a token that it does not accept. */
export const AUTHENTICATION_REQUIRED =
  'Authentication required. Please supply a valid API Access Token: https://buildkite.com/docs/apis/rest-api#authentication';
