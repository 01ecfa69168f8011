import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { Command, Option } from 'commander';
import { loadToolConfig, type ToolConfig } from '../config/index.ts';
import type { BuildkiteTarget } from '../providers/buildkite/plan.ts';
import { planners } from '../providers/planners.ts';
import { CommandError, messageOf, usageError } from './errors.ts';
import { notes } from './help.ts';
import type { Answer } from './lint-check.ts';
import { type Finding, type Linted, lintFile } from './lint-file.ts';
import { readRepo, type RepoName } from './repo-arguments.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain } from './text.ts';

interface Options {
  readonly repo?: RepoName;
  readonly check?: true;
  readonly json?: true;
}

/** A file with all that was found out about it. */
interface Result extends Linted {
  /** As it was typed. */
  file: string;
  allowed?: Answer;
  checked?: Answer;
}

/** `whorl lint`: what Whorl would do with workflow files, before they are pushed. Needs no database. */
export function lintCommand(shell: Shell = ownShell, input: Readable = process.stdin): Command {
  return new Command('lint')
    .description('say what would be done with workflow files, before they are pushed')
    .argument('<file...>', 'workflow files; - reads one from standard input')
    .addOption(
      new Option('--repo <did/name>', 'also say whether this repository may use the target').argParser(readRepo),
    )
    .option('--check', 'ask the CI whether the target is there and the token may use it; makes no build')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'It reads the settings of this machine: the organisation, the allow-list and, for --check, the token. ' +
          'Where Buildkite is not configured, files are looked at as if it were.',
        exit: 'The exit code is 1 when a file has an error: it would fail, or wait for the operator.',
        examples: [
          'whorl lint .tangled/workflows/*.yml',
          'whorl lint ci.yml --repo did:web:alice.example/site --check',
          'git show HEAD:.tangled/workflows/ci.yml | whorl lint - --json',
        ],
      }),
    )
    .action(async (files: string[], options: Options) => {
      const { config } = loadToolConfig(shell.env);
      const results = await lintAll(files, options, config, input);
      if (options.json) shell.print(json(results.map(asData)));
      else
        for (const line of results.flatMap((result, n) => [...(n > 0 ? [''] : []), ...asText(result)]))
          shell.print(line);
      const wrong = results.filter(hasError);
      if (wrong.length > 0) {
        throw new CommandError(
          results.length === 1
            ? `${nameOf(results[0]?.file)} has errors`
            : `${wrong.length} of ${results.length} files have errors`,
        );
      }
    });
}

async function lintAll(
  files: string[],
  { repo, check }: Options,
  config: ToolConfig,
  input: Readable,
): Promise<Result[]> {
  const { buildkite } = config;
  if (check && !buildkite)
    throw usageError(
      '--check asks Buildkite, which is not configured here: set WHORL_BUILDKITE_TOKEN and its webhook secret',
    );
  const { allowChecker, targetChecker } = await import('./lint-check.ts');
  const ask = check && buildkite ? targetChecker(buildkite) : undefined;
  const isAllowed = repo && allowChecker(config, repo);
  const known = planners({ buildkite: buildkite ? { org: buildkite.org } : { org: anyOrg } });
  const results: Result[] = [];
  for (const file of files) {
    const read = await contentOf(file, input);
    if ('problem' in read) {
      results.push({ file, name: file, provider: null, supersede: false, findings: [error(read.problem)] });
      continue;
    }
    const result: Result = {
      file,
      ...lintFile(path.basename(nameOf(file)), read.raw, known),
    };
    results.push(result);
    if (result.provider !== 'buildkite' || result.target === undefined) continue;
    if (!buildkite) {
      const message = 'Buildkite is not configured here, so whether this spindle has it was not looked at';
      result.findings.push({ level: 'warning', message });
      continue;
    }
    if (isAllowed) result.allowed = await isAllowed(buildkite, result.target);
    if (ask) result.checked = await ask(result.target);
    for (const answer of [result.allowed, result.checked]) {
      if (answer && !answer.ok) result.findings.push(error(answer.detail));
    }
  }
  return results;
}

/** Stands for the organisation of a spindle that we do not know; no slug looks so. */
const anyOrg = '(the spindle’s)';

/** More than any workflow file may have. */
const mostBytes = 1024 * 1024;

async function contentOf(file: string, input: Readable): Promise<{ raw: string } | { problem: string }> {
  try {
    if (file !== '-') return { raw: await readFile(file, 'utf8') };
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of input) {
      const bytes = Buffer.from(part as Buffer | string);
      parts.push(bytes);
      size += bytes.length;
      if (size > mostBytes) break;
    }
    return { raw: Buffer.concat(parts).toString('utf8') };
  } catch (problem) {
    return { problem: `it cannot be read: ${messageOf(problem)}` };
  }
}

const nameOf = (file = ''): string => (file === '-' ? 'standard input' : file);

const error = (message: string): Finding => ({ level: 'error', message });

const hasError = ({ findings }: Linted): boolean => findings.some(({ level }) => level === 'error');

/** What `--json` prints: a promise to scripts. */
const asData = (result: Result) => ({
  file: result.file,
  ok: !hasError(result),
  provider: result.provider,
  target: result.target ?? null,
  when: result.when ?? null,
  supersede: result.supersede,
  allowed: result.allowed?.ok ?? null,
  checked: result.checked?.ok ?? null,
  findings: result.findings.map(({ level, line, message }) => ({ level, line: line ?? null, message })),
});

function asText(result: Result): string[] {
  const { file, provider, target, when, supersede, allowed, checked, findings } = result;
  const rows: [string, string][] = [];
  if (provider !== null) rows.push(['runs at', target === undefined ? provider : whereOf(provider, target)]);
  if (target !== undefined) {
    rows.push(['when', when === undefined ? 'always: it has no when' : JSON.stringify(when)]);
    rows.push(['supersede', supersede ? 'yes: a newer push to the same branch cancels it' : 'no']);
  }
  if (allowed?.ok) rows.push(['allowed', allowed.detail]);
  if (checked?.ok) rows.push(['checked', checked.detail]);
  for (const { level, line, message } of findings)
    rows.push([level, `${line === undefined ? '' : `line ${line}: `}${message}`]);
  return [plain(nameOf(file)), ...rows.map(([name, text]) => `  ${name.padEnd(10)} ${plain(text)}`)];
}

function whereOf(provider: string, target: unknown): string {
  if (provider !== 'buildkite') return `${provider}, ${JSON.stringify(target)}`;
  const { org, pipeline, branch, commit } = target as BuildkiteTarget;
  const instead = [branch && `branch ${branch}`, commit && `commit ${commit}`].filter((part) => part);
  return `Buildkite, pipeline ${org}/${pipeline}${instead.length > 0 ? `, always at ${instead.join(', ')}` : ''}`;
}
