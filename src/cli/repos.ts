import { Command } from 'commander';
import { chosenSince, isChosen, listRepos, pinRepo, type Repo, type RepoKey, unpinRepo } from '../store/repos.ts';
import { withDatabase } from './database.ts';
import { CommandError, usageError } from './errors.ts';
import { notes } from './help.ts';
import { named, type RepoName } from './repo-arguments.ts';
import { whyCommand } from './repos-why.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, table, time } from './text.ts';
import { readTime } from './when.ts';

/** `whorl repos`: which repositories this spindle serves, why, and which because an operator said so. */
export function reposCommand(shell: Shell = ownShell): Command {
  const repos = new Command('repos').description('see and choose which repositories this spindle serves').addHelpText(
    'after',
    notes({
      examples: [
        'whorl repos pin knot1.tangled.sh did:plc:ewvi7nxzyoun6zhxrhs64oiz/site',
        'whorl repos list',
        'whorl repos why knot1.tangled.sh did:plc:ewvi7nxzyoun6zhxrhs64oiz/site',
        'whorl repos unpin knot1.tangled.sh did:plc:ewvi7nxzyoun6zhxrhs64oiz/site',
      ],
    }),
  );
  repos.addCommand(pin(shell)).addCommand(list(shell)).addCommand(whyCommand(shell)).addCommand(unpin(shell));
  return repos;
}

const pin = (shell: Shell): Command =>
  named('pin', 'serve a repository; what happens in it from now on counts')
    .option('--since <time>', 'count what happened since then too, such as 2026-05-01T12:00:00Z', readSince)
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'Pinned again, a repository keeps the earlier time. Records in the network never touch a pin. A knot that is pinned may be at a private address, which one that only records name may not.',
        examples: [
          'whorl repos pin knot1.tangled.sh did:plc:ewvi7nxzyoun6zhxrhs64oiz/site',
          'whorl repos pin localhost:5555 did:web:alice.example/site --since 2026-05-01',
        ],
      }),
    )
    .action(async (knot: string, repo: RepoName, { since, json: asJson }: { since?: Date; json?: true }) => {
      const key = { knot, ...repo };
      const from = await withDatabase(shell.env, async (sql) => {
        await pinRepo(sql, { ...key, since });
        return chosenSince(sql, key);
      });
      if (asJson) return shell.print(json({ ...key, pinned: true, since: from ?? null }));
      shell.print(`Pinned ${nameOf(key)}; what happened since ${time(from ?? new Date())} counts.`);
    });

const unpin = (shell: Shell): Command =>
  named('unpin', 'take a pin away')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({ examples: ['whorl repos unpin knot1.tangled.sh did:plc:ewvi7nxzyoun6zhxrhs64oiz/site'] }),
    )
    .action(async (knot: string, repo: RepoName, options: { json?: true }) => {
      const key = { knot, ...repo };
      const { gone, still } = await withDatabase(shell.env, async (sql) => ({
        gone: await unpinRepo(sql, key),
        still: await isChosen(sql, key),
      }));
      if (options.json) shell.print(json({ ...key, pinned: false, wasPinned: gone, served: still }));
      const served = still ? ' It is still served, because a record in the network names this spindle.' : '';
      if (!gone)
        throw new CommandError(`there is no pin of ${nameOf(key)}; \`whorl repos list\` shows what is there.${served}`);
      if (!options.json) shell.print(`Unpinned ${nameOf(key)}.${served}`);
    });

const list = (shell: Shell): Command =>
  new Command('list')
    .description('show the repositories that this spindle serves, by what, and since when')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'SOURCE is `pin` for what was chosen by hand, and `record` for what its publisher chose, being the owner or a member.',
        examples: ['whorl repos list', 'whorl repos list --json'],
      }),
    )
    .action(async (options: { json?: true }) => {
      const repos = await withDatabase(shell.env, listRepos);
      if (options.json) return shell.print(json(repos));
      if (repos.length === 0) {
        return shell.print(
          'No repository is served yet: a member chooses this spindle in the settings of one, or you pin it with `whorl repos pin`.',
        );
      }
      for (const line of table([['KNOT', 'REPOSITORY', 'SOURCE', 'SINCE'], ...repos.map(row)])) shell.print(line);
    });

const row = ({ knot, did, name, source, chosenAt }: Repo): string[] => [knot, `${did}/${name}`, source, time(chosenAt)];

const nameOf = ({ knot, did, name }: RepoKey): string => plain(`${did}/${name} on ${knot}`);

function readSince(text: string): Date {
  const date = readTime(text);
  if (date.getTime() > Date.now()) throw usageError(`${text} is in the future: a pin counts from now at the latest`);
  return date;
}
