import { Command, Option } from 'commander';
import { type ListedDelivery, listDeliveries } from '../store/delivery-list.ts';
import { typedAgain } from './again.ts';
import { withDatabase } from './database.ts';
import { findPipeline } from './find.ts';
import { fitted, isNarrow } from './fit.ts';
import { notes } from './help.ts';
import { count } from './numbers.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, time } from './text.ts';
import { age, readWhen, span, whenForm } from './when.ts';

interface Options {
  readonly build?: string;
  readonly pipeline?: string;
  readonly state?: ListedDelivery['state'];
  readonly provider?: string;
  readonly since?: Date;
  readonly limit: number;
  readonly after?: number;
  readonly json?: true;
}

/** `whorl deliveries`: the webhooks that came, and where they went. */
export function deliveriesCommand(shell: Shell = ownShell): Command {
  const command = new Command('deliveries')
    .description('list the webhooks that came, newest first: of which build, where they went, how long it took')
    .option('--build <build>', 'of one build, by its id at the CI or by its number')
    .option('--pipeline <pipeline>', 'of one pipeline: pipeline/<knot>/<rkey>, <knot>/<rkey>, or the rkey alone')
    .addOption(
      new Option('--state <state>', 'new: waits to be carried on; done: was; foreign: is none of ours').choices([
        'new',
        'done',
        'foreign',
      ]),
    )
    .option('--provider <name>', 'of one provider, such as buildkite')
    .addOption(new Option('--since <when>', `not older than this: ${whenForm}`).argParser((text) => readWhen(text)))
    .addOption(new Option('--limit <n>', 'how many at most').argParser(count('--limit', 1_000)).default(20))
    .addOption(new Option('--after <cursor>', 'go on where the last page ended').argParser(count('--after', 2 ** 53)))
    .option('--json', 'as JSON: deliveries, and `next`, the cursor of the next page')
    .addHelpText(
      'after',
      notes({
        about:
          'TOOK is the time from arrival until dispatch had carried it on. What names no build or pipeline of ours is ' +
          'answered and leaves no row. Of an old delivery the key and these fields stay.',
        examples: [
          'whorl deliveries',
          'whorl deliveries --pipeline 3lwz7gq5vks22',
          'whorl deliveries --state foreign --since 1h',
          'whorl deliveries --build 0192a3b4-c5d6-7890-abcd-ef0123456789 --json',
        ],
      }),
    );
  return command.action(async ({ limit, json: asJson, pipeline: named, ...filter }: Options) => {
    const found = await withDatabase(shell.env, async (sql) => {
      const pipeline = named === undefined ? undefined : await findPipeline(sql, named);
      // One more, to know whether there are more.
      return listDeliveries(sql, { ...filter, pipeline }, limit + 1);
    });
    const page = found.slice(0, limit);
    const next = found.length > limit ? page.at(-1)?.id : undefined;
    if (asJson) return shell.print(json({ deliveries: page, next: next === undefined ? null : `${next}` }));
    if (page.length === 0) return shell.print('No delivery fits.');
    for (const line of asTable(page, shell)) shell.print(line);
    if (next !== undefined) shell.print(`\nMore: ${plain(typedAgain(command, '--after', `${next}`))}`);
  });
}

function asTable(deliveries: readonly ListedDelivery[], { terminal }: Shell): string[] {
  const narrow = isNarrow(terminal);
  const rows = deliveries.map(({ receivedAt, event, state, tookMs, number, build, pipeline, job, reason, tries }) => [
    narrow ? age(receivedAt) : time(receivedAt),
    event,
    state,
    tookMs === null ? '-' : span(tookMs),
    number === null ? build : `#${number}`,
    [
      pipeline === null ? '' : `${pipeline.replace(/^pipeline\//, '')}${job === null ? '' : ` ${job}`}`,
      reason ?? '',
      state === 'new' && tries > 0 ? `${tries} tries` : '',
    ]
      .filter((text) => text !== '')
      .join(': '),
  ]);
  const head = [narrow ? 'AGE' : 'RECEIVED', 'EVENT', 'STATE', 'TOOK', 'BUILD', 'WENT TO'];
  return fitted([head, ...rows], { width: terminal?.size().columns, wrap: true, keep: [0, 1, 2, 3] });
}
