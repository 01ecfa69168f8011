import { Command } from 'commander';
import { listSources, type SourceRow } from '../store/sources.ts';
import { coloured } from './colours.ts';
import { withDatabase } from './database.ts';
import { CommandError } from './errors.ts';
import { fitted, isNarrow } from './fit.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, time } from './text.ts';
import { age, span } from './when.ts';

/** `whorl knots`: how the streams are read. */
export function knotsCommand(shell: Shell = ownShell): Command {
  return new Command('knots')
    .description('show how the jetstream and each knot are read: by whom, how far, how late, and what went wrong')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'STATE is live, connecting, waiting (between two tries) or unread (no process holds its lease: see that ' +
          '`whorl ingest` runs). CURSOR is how far its events are stored; a knot where nothing is pushed keeps an old ' +
          'one. LAG is how long the last frame took to come, LAST how long ago that was. Numbers are at most ten ' +
          'seconds old.',
        exit: 'The exit code is 1 when a source is waiting or unread.',
        examples: ['whorl knots', 'whorl knots --json'],
      }),
    )
    .action(async (options: { json?: true }) => {
      const sources = await withDatabase(shell.env, listSources);
      const away = sources.filter(({ state }) => state === 'waiting' || state === 'unread');
      if (options.json) shell.print(json(sources));
      else for (const line of asText(sources, shell)) shell.print(line);
      if (away.length === 0) return;
      throw new CommandError(`${away.map(({ source, state }) => `${source} is ${state}`).join(', ')}`);
    });
}

function asText(sources: readonly SourceRow[], { colours, terminal }: Shell): string[] {
  if (sources.length === 0) {
    return [
      'Nothing is to be read: no repository is served, and there is no jetstream. `whorl repos list` shows more.',
    ];
  }
  const width = terminal?.size().columns;
  const head = ['SOURCE', 'STATE', 'SINCE', 'CURSOR', 'LAG', 'LAST', 'FRAMES', 'CLOCK', 'TRIES'];
  const paint = (cell: string, column: number, at: number): string => {
    if (!colours || cell === '') return cell;
    if (at === 0) return coloured(cell, 'bold');
    return column === 1 ? coloured(cell, cell === 'live' ? 'green' : cell === 'connecting' ? 'cyan' : 'red') : cell;
  };
  const told = sources.filter(({ error, holder }) => error !== null || holder !== null);
  return [
    ...fitted([head, ...sources.map(row(isNarrow(terminal)))], { width, paint, keep: [0, 1, 2, 3, 4, 5, 6] }),
    ...(told.length === 0 ? [] : ['', ...fitted(told.map(more), { width, wrap: true })]),
  ];
}

const row =
  (narrow: boolean) =>
  ({ source, state, since, cursor, lagMs, frameAt, frames, skewMs, tries }: SourceRow): string[] => [
    source,
    state,
    since ? age(since) : '-',
    cursor ? (narrow ? `${age(cursor)} ago` : time(cursor)) : '-',
    lagMs === null ? '-' : span(Math.max(0, lagMs)),
    frameAt ? age(frameAt) : '-',
    `${frames}`,
    clockOf(skewMs),
    `${tries}`,
  ];

const clockOf = (skewMs: number | null): string =>
  skewMs === null ? '-' : skewMs === 0 ? 'right' : `${span(Math.abs(skewMs))} ${skewMs > 0 ? 'ahead' : 'behind'}`;

const more = ({ source, holder, error, errorAt }: SourceRow): string[] => [
  source,
  [
    holder === null ? 'nobody reads it' : `read by ${holder}`,
    ...(error === null ? [] : [`last trouble ${errorAt ? `${age(errorAt)} ago` : ''}: ${plain(error)}`]),
  ].join('; '),
];
