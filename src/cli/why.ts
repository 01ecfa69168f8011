import { Command } from 'commander';
import { loadToolConfig, type ToolConfig } from '../config/index.ts';
import { parsePipeline } from '../forges/tangled/trigger.ts';
import { judge } from '../pipeline/access.ts';
import { parsePipelineId, type PipelineId, pipelineId } from '../pipeline/ids.ts';
import { explain } from '../pipeline/why.ts';
import type { Engine, TriggerFact, WhyFacts } from '../pipeline/why-facts.ts';
import { factsOf } from '../store/access.ts';
import type { Sql } from '../store/db.ts';
import { knotsOf } from '../store/overview.ts';
import { foreignDeliveries, knotsAside, pipelinesOf, timeline } from '../store/timeline.ts';
import { withDatabase } from './database.ts';
import { CommandError, usageError } from './errors.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain } from './text.ts';
import { type Answer, asData, asText } from './why-text.ts';

/** Asks Temporal about the workflow of a pipeline. */
export type AskTemporal = (env: NodeJS.ProcessEnv, config: ToolConfig, id: string) => Promise<Engine>;

// Temporal's client is large, and is loaded only when there is something to ask.
const ofTemporal: AskTemporal = async (env, config, id) => {
  const { askTemporal } = await import('./why-temporal.ts');
  return askTemporal(env, config, id);
};

/** `whorl why`: what happened to a trigger, what it waits for, and what would make it go on. */
export function whyCommand(shell: Shell = ownShell): Command {
  return new Command('why')
    .description('explain why a pipeline is where it is, what it waits for, and what would make it go on')
    .argument('<what>', 'a pipeline: pipeline/<knot>/<rkey>, its rkey, its commit, a build of the CI; or a knot')
    .argument('[rkey]', 'the rkey of the event, after a knot')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'It tells each step with its time, from the event that came in to the last status; also of triggers that were ' +
          'refused, held, or put aside, and of builds that are none of ours. It asks the database, and Temporal where ' +
          'it answers within three seconds.',
        exit: 'The exit code is 0 at an end or when it goes on by itself, and 1 when something needs a person.',
        examples: [
          'whorl why pipeline/knot1.tangled.sh/3lwz7gq5vks22',
          'whorl why knot1.tangled.sh 3lwz7gq5vks22',
          'whorl why c1325160 --json',
        ],
      }),
    )
    .action(async (what: string, rkey: string | undefined, options: { json?: true }) => {
      const { config } = loadToolConfig(shell.env);
      const answers = await withDatabase(shell.env, async (sql): Promise<Answer[]> => {
        const found = await find(sql, what, rkey);
        if (found.length === 0) return [await stranger(sql, what)];
        return Promise.all(found.map((id) => answer(sql, shell.env, config, id)));
      });
      if (options.json)
        shell.print(json({ asked: rkey === undefined ? what : `${what} ${rkey}`, answers: answers.map(asData) }));
      else
        for (const [n, each] of answers.entries())
          for (const line of [...(n > 0 ? ['', ''] : []), ...asText(each, shell.terminal?.size().columns)])
            shell.print(line);
      const needy = answers.find(({ why }) => why.standing === 'needs a person');
      if (needy) throw new CommandError(plain(`${needy.why.id} needs a person: ${needy.why.cause}`));
    });
}

/** The pipelines and triggers that a person may mean. A full name counts also when nothing is known of it. */
async function find(sql: Sql, what: string, rkey: string | undefined): Promise<PipelineId[]> {
  const parts = what.split('/');
  const full = parsePipelineId(
    rkey !== undefined ? `pipeline/${what}/${rkey}` : parts.length === 2 ? `pipeline/${what}` : what,
  );
  if (full) return [pipelineId(full.knot, full.rkey)];
  if (rkey !== undefined || parts.length > 1 || what === '')
    throw usageError(
      `${JSON.stringify(rkey === undefined ? what : `${what} ${rkey}`)} is not the name of a pipeline: it must be pipeline/<knot>/<rkey>, <knot>/<rkey>, an rkey, a commit, or a build`,
    );
  const knots = await knotsOf(sql, what);
  if (knots.length > 0) return knots.map((knot) => pipelineId(knot, what));
  const found = await pipelinesOf(sql, what);
  if (found.length > 0) return found;
  return (await knotsAside(sql, what)).map((knot) => pipelineId(knot, what));
}

async function answer(sql: Sql, env: NodeJS.ProcessEnv, config: ToolConfig, id: PipelineId): Promise<Answer> {
  const { now, books } = await timeline(sql, id);
  const [engine, advice] = await Promise.all([
    books.pipeline ? ofTemporal(env, config, id) : { asked: false as const, why: 'there was no need to' },
    books.trigger?.state === 'held' ? adviceFor(sql, books.trigger) : null,
  ]);
  const facts = { id, now, books, engine, advice, parkLimit: config.durations.parkLimit };
  return { facts, why: explain(facts) };
}

/** What whoever wants a held trigger to run can do, as of now. */
async function adviceFor(sql: Sql, { knot, body }: TriggerFact): Promise<WhyFacts['advice']> {
  const parsed = parsePipeline(body);
  if (!parsed.ok) return null;
  const asked = { ...parsed.trigger.repo, knot };
  const verdict = judge(asked, await factsOf(sql, asked));
  if (verdict.served) return null;
  const { did, name } = asked;
  return { text: verdict.advice, repo: name === '' ? null : `${did}/${name}` };
}

/** Nothing has that name: a build of others, or nothing at all. */
async function stranger(sql: Sql, what: string): Promise<Answer> {
  const { now, books } = await timeline(sql, pipelineId('', ''));
  const deliveries = await foreignDeliveries(sql, what);
  const engine = { asked: false as const, why: 'there was no need to' };
  const facts = { id: what, now, books: { ...books, deliveries }, engine, advice: null, parkLimit: 0 };
  return { facts, why: explain(facts) };
}
