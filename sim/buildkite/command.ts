import { Command, InvalidArgumentError, Option } from 'commander';
import { REAL_LIMITS, startBuildkite } from './index.ts';
import { BUILD_EVENTS } from './types.ts';
import type { BuildEvent } from './types.ts';

interface Flags {
  readonly port: number;
  readonly host: string;
  readonly pipeline?: string[];
  readonly strict?: boolean;
  readonly token?: string;
  readonly pace: number;
  readonly limits?: boolean;
  readonly indexLag: number;
  readonly webhook?: string;
  readonly webhookMode: 'token' | 'signature';
  readonly webhookSecret: string;
  readonly webhookEvents?: BuildEvent[];
  readonly webhookOrganization?: boolean;
}

/** `sim buildkite`: a Buildkite of one's own until Ctrl-C. */
export function buildkiteCommand(): Command {
  return new Command('buildkite')
    .description('a Buildkite: REST API, webhooks, and builds that run by themselves')
    .option('-p, --port <number>', 'port to listen on (0: any free one)', wholeNumber, 9000)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--pipeline <org/slug...>', 'pipelines that exist from the start')
    .option('--strict', 'answer 404 for other pipelines instead of making them')
    .option('--token <token>', 'API token to accept (default: a random one)')
    .option('--pace <ms>', 'time between the states of a build', wholeNumber, 300)
    .option('--limits', 'enforce the real rate limits: 200 a minute for all, 50 for a user')
    .option('--index-lag <ms>', 'time until lists show a new build', wholeNumber, 0)
    .option('--webhook <url>', 'where to send webhooks')
    .addOption(
      new Option('--webhook-mode <mode>', 'how webhooks prove themselves')
        .choices(['token', 'signature'])
        .default('token'),
    )
    .option('--webhook-secret <secret>', 'token or signing key of the webhook', 'webhook-secret')
    .option('--webhook-events <list>', 'events, with commas (default: all of builds and jobs)', eventList)
    .option('--webhook-organization', 'add a top-level organization, which the real one does not send')
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const sim = await startBuildkite({
    port: flags.port,
    host: flags.host,
    pipelines: flags.pipeline ?? ['acme/app'],
    autoPipelines: !flags.strict,
    token: flags.token === undefined ? {} : { token: flags.token },
    clock: 'auto',
    pace: flags.pace,
    limits: flags.limits ? REAL_LIMITS : 'off',
    indexLag: flags.indexLag,
    onRequest: (request) => {
      const build = request.build ? `  ${request.build.org}/${request.build.pipeline} #${request.build.number}` : '';
      say(`${request.method.padEnd(5)} ${request.path}  ${request.lost ? 'no answer' : request.status}${build}`);
    },
    onDelivery: (delivery) => {
      const build = delivery.build ? `${delivery.build.org}/${delivery.build.pipeline} #${delivery.build.number}` : '';
      say(`hook  ${delivery.event.padEnd(16)} ${build}  ${delivery.status ?? delivery.error ?? delivery.outcome}`);
    },
  });
  say(`Buildkite simulator at ${sim.url} (API ${sim.apiUrl})`);
  say(`token  ${sim.token}`);
  if (flags.webhook === undefined) say('no webhooks: give --webhook <url>');
  else {
    sim.webhook({
      url: flags.webhook,
      mode: flags.webhookMode,
      secret: flags.webhookSecret,
      organization: flags.webhookOrganization ?? false,
      ...(flags.webhookEvents ? { events: flags.webhookEvents } : {}),
    });
    say(`webhooks to ${flags.webhook}, ${flags.webhookMode} "${flags.webhookSecret}"`);
  }
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  await sim.close();
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function eventList(text: string): BuildEvent[] {
  return text.split(',').map((name) => {
    const event = BUILD_EVENTS.find((one) => one === name.trim());
    if (!event) throw new InvalidArgumentError(`"${name}" is not one of ${BUILD_EVENTS.join(', ')}.`);
    return event;
  });
}
