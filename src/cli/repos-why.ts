import type { Command } from 'commander';
import { type AskedRepo, type Facts, judge, repoName, type Verdict } from '../pipeline/access.ts';
import { factsOf } from '../store/access.ts';
import { type AccountRow, accountOf, unservedTriggers, type WaitingTrigger } from '../store/why.ts';
import { withDatabase } from './database.ts';
import { CommandError } from './errors.ts';
import { notes } from './help.ts';
import { named, type RepoName } from './repo-arguments.ts';
import type { Shell } from './shell.ts';
import { json, plain, table, time } from './text.ts';

interface Answer {
  asked: AskedRepo;
  verdict: Verdict;
  facts: Facts;
  account: AccountRow | undefined;
  triggers: WaitingTrigger[];
}

/** `whorl repos why`: whether a repository is served, because of what, and what is missing if not. */
export const whyCommand = (shell: Shell): Command =>
  named('why', 'explain whether a repository is served, and what is missing if it is not')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about: 'Instead of its name, the key of its record or its own DID will do.',
        exit: 'The exit code is 0 when it is served, and 1 when not.',
        examples: [
          'whorl repos why knot1.tangled.sh did:plc:ewvi7nxzyoun6zhxrhs64oiz/site',
          'whorl repos why localhost:5555 did:web:alice.example/site --json',
        ],
      }),
    )
    .action(async (knot: string, { did, name }: RepoName, options: { json?: true }) => {
      const asked: AskedRepo = name.startsWith('did:') ? { knot, did, name: '', repoDid: name } : { knot, did, name };
      const answer = await withDatabase(shell.env, async (sql): Promise<Answer> => {
        const facts = await factsOf(sql, asked);
        const [account, triggers] = await Promise.all([accountOf(sql, did), unservedTriggers(sql, asked, 10)]);
        return { asked, facts, verdict: judge(asked, facts), account, triggers };
      });
      if (options.json) shell.print(json(asData(answer)));
      else for (const line of asText(answer)) shell.print(line);
      const { verdict } = answer;
      if (!verdict.served) throw new CommandError(`${nameOf(asked)} is not served: ${verdict.reason}`);
    });

/** What `--json` prints: a promise to scripts. */
function asData({ asked: { knot, did, name, repoDid }, verdict, facts, account, triggers }: Answer) {
  return {
    knot,
    did,
    name,
    repoDid: repoDid ?? null,
    served: verdict.served,
    since: verdict.served ? new Date(verdict.since) : null,
    reason: verdict.served ? verdict.because : verdict.reason,
    advice: verdict.served ? null : verdict.advice,
    spindle: facts.host,
    publisher: facts.publisher,
    pinned: facts.pinned === null ? null : new Date(facts.pinned),
    records: facts.records.map((record) => ({ ...record, since: new Date(record.since) })),
    account: account ?? null,
    triggers,
  };
}

function asText({ asked, verdict, facts, account, triggers }: Answer): string[] {
  const lines = verdict.served
    ? [`${nameOf(asked)} is served; what happened since ${time(new Date(verdict.since))} counts.`, verdict.because]
    : [verdict.advice];
  return [
    ...lines.map(plain),
    ...[...aboutAccount(asked.did, facts, account)].map(plain),
    ...(triggers.length > 0
      ? ['', ...table([['RECEIVED', 'EVENT', 'STATE', 'WHY'], ...triggers.map(triggerLine)])]
      : []),
  ];
}

function* aboutAccount(did: string, { publisher }: Facts, account: AccountRow | undefined): Generator<string> {
  const roles = { owner: 'the owner of this spindle', member: 'a member of this spindle' };
  yield `${did} is ${publisher ? roles[publisher] : 'neither the owner nor a member of this spindle'}.`;
  if (!account) return;
  if (!account.active) yield `The account is ${account.status ?? 'not active'}.`;
  if (publisher === null && account.listedAt === null) return;
  const listed = account.listedAt
    ? `were last read at its own server at ${time(account.listedAt)}`
    : 'were never read at its own server';
  const next = publisher && account.dueAt ? `; next at ${time(account.dueAt)}` : '';
  yield `Its records ${listed}${next}.`;
  if (account.problem !== null)
    yield `Reading them has failed ${account.tries === 1 ? 'once' : `${account.tries} times`} since: ${account.problem}`;
}

const triggerLine = ({ receivedAt, rkey, state, reason, holdUntil }: WaitingTrigger): string[] => [
  time(receivedAt),
  rkey,
  state === 'held' && holdUntil ? `held until ${time(holdUntil)}` : state,
  reason ?? '',
];

const nameOf = (asked: AskedRepo): string => plain(`${repoName(asked)} on ${asked.knot}`);
