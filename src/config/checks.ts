import type { Problem } from './error.ts';
import { type Environment, given, type Key, type ReadFile, type Reading } from './read.ts';
import type { Setting } from './setting.ts';
import { settings } from './settings.ts';
import type { Role } from './types.ts';

interface Findings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

const { buildkiteToken, buildkiteOrg, buildkiteSecrets, buildkiteApiUrl, buildkiteAllow } = settings;

/** What is wrong, or worth a word, in how settings go together. A setting that is wrong by itself is not blamed twice. */
export function checkTogether({ values, problems, effective }: Reading): Findings {
  const found: Problem[] = [];
  const warnings: string[] = [];
  const { silenceFirst: first, silenceMax: max } = values;
  if (first !== undefined && max !== undefined && first > max) {
    found.push(problem('silenceMax', `must not be shorter than ${settings.silenceFirst.name}`));
  }
  if (values.buildkiteToken !== undefined) withToken();
  else if (!blamed(problems, buildkiteToken)) withoutToken();
  return { problems: found, warnings };

  function withToken(): void {
    if (values.buildkiteSecrets === undefined && !blamed(problems, buildkiteSecrets)) {
      found.push(
        problem('buildkiteSecrets', 'is not set, but a token is: webhooks could not be told from forged ones'),
      );
    }
    const { buildkiteOrg: org, buildkiteAllow: allow, buildkiteApiUrl: url, dev } = values;
    if (allow === undefined && org === undefined) {
      warnings.push(
        `${buildkiteOrg.name} and ${buildkiteAllow.name} are not set: no Buildkite pipeline may be used until one of them is`,
      );
    } else if (allow === undefined) {
      warnings.push(
        `${buildkiteAllow.name} is not set: every repository that this spindle serves may use every pipeline of ${org}`,
      );
    } else if (org === undefined) {
      warnings.push(`${buildkiteOrg.name} is not set: jobs whose workflow file names no \`org\` will fail`);
    }
    if (url?.startsWith('http:') && !dev) {
      warnings.push(`${buildkiteApiUrl.name} is an http:// URL: the token crosses the network in clear`);
    }
  }

  function withoutToken(): void {
    const group: readonly string[] = Object.values(settings).flatMap((each) =>
      each.group === 'Buildkite' ? each.name : [],
    );
    const idle = effective.filter(
      ({ name, source }) => group.includes(name) && source !== 'default' && source !== 'unset',
    );
    if (idle.length === 0) return;
    const names = idle.map(({ from }) => from).join(', ');
    warnings.push(`${names}: no effect without ${buildkiteToken.name}; Buildkite is off`);
  }
}

/** What a role cannot do without. `up` brings a database and Temporal itself when none are configured. */
export function checkRole(role: Role, { values, problems }: Reading, env: Environment): Problem[] {
  const keys: Key[] = role === 'up' ? ['hostname', 'owner'] : ['hostname', 'owner', 'databaseUrl'];
  const wrong = `is not set, and \`whorl ${role}\` needs it`;
  const missing = keys
    .filter((key) => values[key] === undefined && !blamed(problems, settings[key]))
    .map((key) => problem(key, wrong));
  const lost = (role === 'ingest' || role === 'worker') && !temporalIsConfigured(env);
  return lost ? [...missing, { name: 'TEMPORAL_ADDRESS', wrong, example: 'TEMPORAL_ADDRESS=localhost:7233' }] : missing;
}

export const temporalIsConfigured = (env: Environment): boolean =>
  ['TEMPORAL_ADDRESS', 'TEMPORAL_CONFIG_FILE', 'TEMPORAL_PROFILE'].some((name) => given(env, name) !== undefined);

/** Temporal's loader takes a missing file for an empty one, and would go on to a server that nobody meant. */
export function checkTemporalFile(env: Environment, readFile: ReadFile): Problem[] {
  const name = 'TEMPORAL_CONFIG_FILE';
  const path = given(env, name);
  if (path === undefined) return [];
  try {
    readFile(path);
    return [];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [
      { name, wrong: `names a file that cannot be read: ${reason}`, example: `${name}=/etc/whorl/temporal.toml` },
    ];
  }
}

function problem(key: Key, wrong: string): Problem {
  const { name, example } = settings[key];
  return { name, wrong, example: `${name}=${example}` };
}

const blamed = (problems: readonly Problem[], { name, alias }: Setting): boolean =>
  problems.some((each) => [name, `${name}_FILE`, alias?.name].includes(each.name));
