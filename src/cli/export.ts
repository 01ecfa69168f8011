import { Command, Option } from 'commander';
import { type AuditRow, walkAudit } from '../store/audit.ts';
import { withDatabase } from './database.ts';
import { findPipeline } from './find.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';
import { json } from './text.ts';
import { readWhen, whenForm } from './when.ts';

interface Options {
  readonly since?: Date;
  readonly pipeline?: string;
}

/** Sorting a year takes the database a while. */
const answerWithinMs = 3_600_000;

/** `whorl export`: the audit trail. */
export function exportCommand(shell: Shell = ownShell): Command {
  return new Command('export')
    .description('print the audit trail as JSON lines: what came in, who asked for what, what was built and published')
    .addOption(
      new Option('--since <when>', `only what happened since: ${whenForm}`).argParser((text) => readWhen(text)),
    )
    .option('--pipeline <pipeline>', 'of one pipeline: pipeline/<knot>/<rkey>, <knot>/<rkey>, or the rkey alone')
    .addHelpText(
      'after',
      notes({
        about:
          'One object a line, in the order of `time`, from one moment of the database however long it takes: `type` is ' +
          'trigger, pipeline, command, reopening, attempt, build or status. docs/audit.md names the fields of each. It ' +
          'takes the same memory for any number of lines. What housekeeping has removed is not there any more.',
        examples: [
          'whorl export > trail.jsonl',
          'whorl export --since 7d | gzip > week.jsonl.gz',
          `whorl export --since 30d | jq 'select(.type == "command") | [.time, .by, .kind, .pipeline]'`,
          'whorl export --pipeline 3lwz7gq5vks22',
        ],
      }),
    )
    .action(async ({ since, pipeline: named }: Options) => {
      await withDatabase(
        shell.env,
        async (sql) => {
          const pipeline = named === undefined ? undefined : await findPipeline(sql, named);
          await walkAudit(sql, { since, pipeline }, (rows) => {
            shell.print(rows.map((row) => json(asData(row), 0)).join('\n'));
            return shell.drained?.();
          });
        },
        { answerWithinMs },
      );
    });
}

/** A line: a promise to scripts. */
const asData = ({ at, type, pipeline, about }: AuditRow) => ({ time: at, type, pipeline, ...about });
