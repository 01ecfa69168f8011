import { Command } from 'commander';
import { listRefused, type RefusedFrame } from '../store/refused.ts';
import { withDatabase } from './database.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, time } from './text.ts';

/** characters of a frame on one line */
const shown = 400;

/** `whorl frames`: what the sources sent that was stepped over. */
export function framesCommand(shell: Shell = ownShell): Command {
  return new Command('frames')
    .description('show what was stepped over because it is wrong: the last 100 frames or records of each source')
    .argument('[source]', 'jetstream, backfill, or knot/<host>; without it, all of them')
    .option('--json', 'as JSON, with all that was kept of each')
    .addHelpText(
      'after',
      notes({
        about: 'Of one that is longer than 64 KiB the beginning is kept.',
        examples: ['whorl frames', 'whorl frames jetstream', 'whorl frames knot/knot1.tangled.sh --json'],
      }),
    )
    .action(async (source: string | undefined, options: { json?: true }) => {
      const frames = await withDatabase(shell.env, (sql) => listRefused(sql, source));
      if (options.json) return shell.print(json(frames.map(asJson)));
      if (frames.length === 0) return shell.print('Nothing was stepped over.');
      for (const frame of frames) {
        shell.print(`${time(frame.receivedAt)}  ${plain(frame.source)}: ${plain(frame.reason)}`);
        shell.print(`  ${excerpt(frame)}`);
      }
    });
}

function excerpt({ bytes }: RefusedFrame): string {
  const text = plain(textOf(bytes));
  return text.length <= shown ? text : `${text.slice(0, shown).toWellFormed()}…`;
}

/** `bytes` too, where the text does not say all. */
function asJson({ source, reason, bytes, receivedAt }: RefusedFrame) {
  const text = textOf(bytes);
  const buffer = Buffer.from(bytes);
  const exact = buffer.equals(Buffer.from(text));
  return { source, reason, receivedAt, text, ...(exact ? {} : { bytes: buffer.toString('base64') }) };
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
