import { Command, Option } from 'commander';
import { ConfigError, type Effective, loadConfig, loadToolConfig, type Role } from '../config/index.ts';
import { fitted } from './fit.ts';
import { notes } from './help.ts';

const roles = ['up', 'ingest', 'worker', 'server'] as const satisfies readonly Role[];

interface Options {
  readonly json?: true;
  readonly for: Role | 'tools';
}

/** `whorl config`: what holds now and where it comes from, without a secret in it. Exit code 1 when something is wrong. */
export function configCommand(env = process.env, print: (text: string) => void = (text) => console.log(text)): Command {
  return new Command('config')
    .description('print the effective configuration, with secrets hidden, and what is wrong with it')
    .option('--json', 'as JSON')
    .addOption(new Option('--for <role>', 'check what this role needs').choices([...roles, 'tools']).default('up'))
    .addHelpText(
      'after',
      notes({
        about: 'docs/configuration.md says what each name means.',
        exit: 'The exit code is 1 when something is wrong, and all that is wrong is listed.',
        examples: ['whorl config', 'whorl config --for worker', 'whorl config --for tools --json'],
      }),
    )
    .action((options: Options) => {
      const report = inspect(env, options.for);
      print(options.json ? JSON.stringify(report, undefined, 2) : asText(report));
      if (report.problems.length > 0) process.exitCode = 1;
    });
}

interface Report {
  readonly settings: readonly Effective[];
  readonly temporal?: 'configured' | 'embedded';
  readonly warnings: readonly string[];
  readonly problems: ConfigError['problems'];
  readonly error?: string;
}

function inspect(env: NodeJS.ProcessEnv, role: Options['for']): Report {
  try {
    const loaded = role === 'tools' ? loadToolConfig(env) : loadConfig(env, undefined, role);
    const { config, effective, warnings } = loaded;
    const temporal = config.temporal.configured ? 'configured' : 'embedded';
    return { settings: effective, temporal, warnings, problems: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { settings: [], warnings: [], problems: error.problems, error: error.message };
  }
}

function asText({ settings, temporal, warnings, error }: Report): string {
  if (error !== undefined) return error;
  const rows = settings.map(({ name, value = '', source, from }) => [
    name,
    from === name ? source : `${source} ${from}`,
    value.replace(/\s*\n\s*/g, ', '),
  ]);
  const where = temporal === 'configured' ? 'the TEMPORAL_* variables' : 'none set: `whorl up` runs its own';
  return [
    ...fitted([['NAME', 'SOURCE', 'VALUE'], ...rows]),
    '',
    `Temporal: ${where}`,
    ...warnings.map((warning) => `Warning: ${warning}`),
  ].join('\n');
}
