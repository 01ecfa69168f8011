// Writes docs/configuration.md from the schema of the settings, and docs/cli.md from the help of the commands.
// With --check it only compares, and exits with 1.
import { readFileSync, writeFileSync } from 'node:fs';
import { commandLineDocs } from './cli-docs.ts';
import { groups, type Setting } from '../src/config/setting.ts';
import { settings } from '../src/config/settings.ts';

const all: readonly Setting[] = Object.values(settings);

const head = `# Configuration

<!-- Made by \`node scripts/docs.ts\` from src/config/settings.ts. Change it there. -->

Whorl is configured by its environment. \`whorl config\` prints what holds, where it comes from and what is wrong, with
secrets hidden; \`whorl config --for worker\` checks what one role needs.

- An empty value counts as not set. All problems are reported at once. A \`WHORL_\` name that nobody knows gives a warning.
- A secret can be given as a file: \`WHORL_BUILDKITE_TOKEN_FILE=/run/secrets/buildkite_token\`. Line breaks at its end are
  dropped. A name and its \`_FILE\` together are refused.
- Durations have units: \`250ms\`, \`90s\`, \`15m\`, \`1h30m\`. A plain number is refused.
- Names of tack are taken as aliases, with tack's meaning. A \`WHORL_\` name wins over its alias.
`;

const temporal = `## Temporal

Where Temporal is, is said by the standard \`TEMPORAL_*\` variables alone, the same that the \`temporal\` command line reads:
\`TEMPORAL_ADDRESS\`, \`TEMPORAL_NAMESPACE\`, \`TEMPORAL_API_KEY\`, \`TEMPORAL_TLS\` and its kin, or a file by
\`TEMPORAL_CONFIG_FILE\` and \`TEMPORAL_PROFILE\`. When none of \`TEMPORAL_ADDRESS\`, \`TEMPORAL_CONFIG_FILE\` and
\`TEMPORAL_PROFILE\` is set, \`whorl up\` runs a server of its own; \`whorl ingest\` and \`whorl worker\` need one of them.
`;

const traces = `## Traces

OpenTelemetry's own variables say whether traces are sent, and where: none unless \`OTEL_EXPORTER_OTLP_ENDPOINT\` or
\`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT\` is set. [What they hold](metrics.md#traces).
`;

const unsupported = `## Names of tack without a meaning here

Each gives a warning at start that says what to do.

| name | instead |
|---|---|
| \`TACK_DB_PATH\` | Whorl keeps its state in PostgreSQL: \`WHORL_DATABASE_URL\`, or \`WHORL_DATA_DIR\`. tack's file is not read; \`whorl repos pin\` names the repositories to serve. |
| \`TACK_JETSTREAM_URL\` | Jetstream is not followed yet; \`whorl repos pin\` names the repositories to serve. |
| \`TACK_BUILDKITE_PIPELINE\` | Each workflow file names its pipeline. |
| \`TACK_TEKTON_*\`, \`TACK_SOURCEHUT_*\` | These providers are not supported yet. |
`;

/** The text of docs/configuration.md. */
export function configurationDocs(): string {
  return [head, ...groups.map(section), temporal, traces, unsupported].join('\n');
}

function section(group: (typeof groups)[number]): string {
  const rows = all.filter((setting) => setting.group === group).map(row);
  return [`## ${group}`, '', '| name | value | default | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
}

function row({ name, form, default: value, required, secret, description, example, alias }: Setting): string {
  const names = [
    `\`${name}\``,
    ...(secret ? [`\`${name}_FILE\``] : []),
    ...(alias ? [`alias \`${alias.name}\`${alias.note ? ` (${alias.note})` : ''}`] : []),
  ];
  const kind = secret ? `${form.label}; secret` : form.label;
  const fallback = value === undefined ? (required ? '**required**' : 'unset') : `\`${value}\``;
  return `| ${names.join('<br>')} | ${kind} | ${fallback} | ${description} Example: \`${example}\` |`;
}

function run(check: boolean): void {
  for (const [name, text] of [
    ['docs/configuration.md', configurationDocs()],
    ['docs/cli.md', commandLineDocs()],
  ] as const) {
    const target = new URL(`../${name}`, import.meta.url);
    if (!check) writeFileSync(target, text);
    else if (readFileSync(target, 'utf8') !== text) {
      console.error(`${name} is not what the code says. Run \`node scripts/docs.ts\` and commit the file.`);
      process.exitCode = 1;
    }
  }
}

if (import.meta.main) run(process.argv.includes('--check'));
