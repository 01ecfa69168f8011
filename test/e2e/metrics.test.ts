import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { httpApp } from '../../src/health/http.ts';
import { measured } from '../../src/health/measured.ts';
import { metricsRoute } from '../../src/health/metrics.ts';
import { watchDisk } from '../../src/metrics/live.ts';
import { type Face, metricsPart, plainFace } from '../../src/roles/faces.ts';
import { runtimeMetrics } from '../../src/roles/runtime.ts';
import { buildOf, isParked } from '../support/pipelines.ts';
import { type Scrape, scrape } from '../support/scrape.ts';
import { buildkiteFile, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

const root = path.join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const alerts = parse(read('deploy/alerts.yml')) as {
  groups: {
    rules: { alert: string; expr: string; labels: { severity: string }; annotations: { runbook_url: string } }[];
  }[];
};
const rules = alerts.groups.flatMap((group) => group.rules);

/** Runs the real promtool; rejects with what it says when it is not content. */
async function promtool(args: string[], input?: string): Promise<string> {
  const running = promisify(execFile)('promtool', args, { cwd: root });
  running.child.stdin?.end(input);
  const { stdout } = await running.catch((error: NodeJS.ErrnoException & { stdout?: string; stderr?: string }) => {
    if (error.code === 'ENOENT') throw new Error('promtool is not here: scripts/promtool.sh installs it, or says how');
    throw new Error(`promtool ${args.join(' ')}: ${error.stdout}${error.stderr}`);
  });
  return stdout;
}

let whole: Spindle;
let face: Face;
let seen: Scrape;

beforeAll(async () => {
  whole = await spindle({ shared: true, network: true });
  watchDisk(root);
  face = await plainFace(whole.deps, { host: '127.0.0.1', port: 0 }, [metricsPart(whole.deps, 'up', runtimeMetrics)]);
  const pushed = whole.push({ 'ci.yml': buildkiteFile() });
  const { id } = await buildOf(whole, pushed);
  whole.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whole.ci.advance(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  const parked = whole.push({ 'ci.yml': buildkiteFile('nowhere') });
  await isParked(parked);
  await until('the parked job in the database', async () => {
    const rows = await whole.sql`select from jobs where parked is not null`;
    return rows.length === 1;
  });
  seen = await scrape(face.url);
});
afterAll(async () => {
  await face?.close();
  await whole?.close();
});

test('a push to its end is counted at each border that it passes', () => {
  // On a busy machine what runs into its limit is done again.
  const source = `knot/${whole.knot.host}`;
  expect(seen.value('whorl_database_up')).toBe(1);
  expect(seen.value('whorl_stream_connected', { source })).toBe(1);
  expect(seen.value('whorl_stream_frames_total', { source })).toBeGreaterThanOrEqual(2);
  expect(seen.value('whorl_triggers_total', { outcome: 'started' })).toBeGreaterThanOrEqual(2);
  expect(
    seen.value('whorl_dispatch_duration_seconds_count', { kind: 'trigger', outcome: 'done' }),
  ).toBeGreaterThanOrEqual(2);
  expect(
    seen.value('whorl_temporal_call_duration_seconds_count', { call: 'start', outcome: 'done' }),
  ).toBeGreaterThanOrEqual(2);
  expect(
    seen.value('whorl_ci_request_duration_seconds_count', { operation: 'create', status: '2xx' }),
  ).toBeGreaterThanOrEqual(1);
  expect(
    seen.value('whorl_ci_request_duration_seconds_count', { operation: 'create', status: '4xx' }),
  ).toBeGreaterThanOrEqual(1);
  expect(
    seen.value('whorl_activity_duration_seconds_count', { activity: 'create', outcome: 'done' }),
  ).toBeGreaterThanOrEqual(1);
  expect(
    seen.value('whorl_activity_duration_seconds_count', { activity: 'create', outcome: 'TargetMissing' }),
  ).toBeGreaterThanOrEqual(1);
  expect(seen.value('whorl_webhooks_total', { provider: 'buildkite', outcome: 'stored' })).toBeGreaterThanOrEqual(3);
  expect(
    seen.value('whorl_http_request_duration_seconds_count', { route: '/webhooks/:provider', status: '2xx' }),
  ).toBeGreaterThanOrEqual(3);
  expect(seen.sum('whorl_statuses_published_total')).toBeGreaterThanOrEqual(4);
  expect(seen.value('whorl_reader_connections', { path: '/events' })).toBe(1);
  expect(seen.sum('whorl_network_request_duration_seconds_count', { outcome: 'done' })).toBeGreaterThan(0);
  expect(seen.sum('whorl_leases_held', { kind: 'dispatch' })).toBeGreaterThan(0);
});

test('what the database knows is there: what waits, how ends were learnt, how long things took', () => {
  expect(seen.value('whorl_jobs_parked', { cause: 'TargetMissing' })).toBe(1);
  expect(seen.value('whorl_ends_learnt', { org: 'acme', how: 'webhook' })).toBe(1);
  expect(seen.value('whorl_pipelines_open', { status: 'pending' })).toBe(1);
  expect(seen.value('whorl_inbox_waiting', { kind: 'triggers' })).toBe(0);
  expect(seen.value('whorl_ci_rate_limit_remaining')).toBeGreaterThan(0);
  for (const name of ['create', 'first_status', 'webhook'])
    expect(seen.value(`whorl_${name}_latency_seconds`, { percentile: '95' })).toBeLessThan(30);
  expect(seen.value('whorl_cursor_lag_seconds', { source: `knot/${whole.knot.host}` })).toBeLessThan(60);
  expect(seen.value('whorl_database_size_bytes')).toBeGreaterThan(1_000_000);
  expect(seen.value('whorl_disk_free_bytes')).toBeGreaterThan(0);
});

test('no label names a repository, a branch, a commit, or a pipeline', async () => {
  const [pipeline] = await whole.sql<{ rkey: string; did: string; repo: string; commit: string }[]>`
    select rkey, did, repo, commit from pipelines limit 1`;
  for (const one of [pipeline?.rkey, pipeline?.did, pipeline?.repo, pipeline?.commit]) {
    expect(one).toBeTruthy();
    expect(seen.text).not.toContain(one);
  }
});

test('secrets are not in it', () => {
  for (const secret of [...whole.config.logs.secrets(), whole.ci.token]) expect(seen.text).not.toContain(secret);
});

test('when the database does not answer, a scrape says so, and shows the rest', async () => {
  const sql = (() => new Promise(() => {})) as unknown as Spindle['sql'];
  const app = httpApp(whole.deps.log);
  metricsRoute(app, { sql, role: 'up', logSpaceBytes: 1, deadlineMs: 100 });
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  const got = await scrape(url);
  await app.close();
  expect(got.value('whorl_database_up')).toBe(0);
  expect(got.families.has('whorl_inbox_waiting')).toBe(false);
  expect(got.value('whorl_triggers_total', { outcome: 'started' })).toBeGreaterThanOrEqual(2);
});

test('scrapes one after the other ask the database once, and nobody asks it without them', async () => {
  let asked = 0;
  const counting = new Proxy(whole.sql, {
    apply(target, self, args: unknown[]) {
      asked++;
      return Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, args);
    },
  });
  const gauges = measured(counting);
  expect(asked).toBe(0);
  await gauges.text();
  const first = asked;
  expect(first).toBeGreaterThan(0);
  await Promise.all([gauges.text(), gauges.text(), gauges.text()]);
  expect(asked).toBe(first);
});

test('promtool is content with a live scrape', async () => {
  await expect(promtool(['check', 'metrics'], seen.text)).resolves.toBe('');
});

test('promtool is content with the alerts, and each rings when it should and not on a calm day', async () => {
  expect(await promtool(['check', 'rules', 'deploy/alerts.yml'])).toContain(`SUCCESS: ${rules.length} rules found`);
  expect(await promtool(['test', 'rules', 'deploy/alerts.test.yml'])).toContain('SUCCESS');
  const tests = parse(read('deploy/alerts.test.yml')) as {
    tests: { name: string; alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[];
  };
  const calm = tests.tests.find(({ name }) => name === 'a calm day')?.alert_rule_test ?? [];
  const rings = tests.tests
    .flatMap((one) => one.alert_rule_test)
    .filter(({ exp_alerts: expected }) => expected?.length);
  const names = rules.map(({ alert }) => alert);
  expect(rings.map(({ alertname }) => alertname)).toEqual(names);
  expect(calm.map(({ alertname }) => alertname)).toEqual(names);
});

test('every alert has an entry in the runbook that says symptom, check and cure', () => {
  const runbook = read('docs/runbook.md');
  for (const { alert, annotations, labels } of rules) {
    expect(annotations.runbook_url).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
    const entry = new RegExp(`^### ${alert}\n([\\s\\S]*?)(?=^##|(?![\\s\\S]))`, 'm').exec(runbook)?.[1] ?? '';
    for (const part of ['**Symptom.** ', '**Check.** ', '**Cure.** ', `*${labels.severity}; `])
      expect(entry, `${alert} in the runbook`).toContain(part);
  }
});

/** Names of metrics in a text; of histograms those of their families. */
const namesIn = (text: string): string[] => [
  ...new Set(
    [...text.matchAll(/\b(?:whorl|temporal|process|nodejs)_[a-z0-9_]*[a-z0-9]\b/g)].map(([name]) =>
      name.replace(/_(?:bucket|count|sum)$/, ''),
    ),
  ),
];

test('every metric that alerts and dashboard use, and that the documentation names, is in a live scrape', () => {
  const dashboard = JSON.stringify(JSON.parse(read('deploy/grafana/whorl.json')));
  const told = [...rules.map(({ expr }) => expr), dashboard.replaceAll('"', ' '), read('docs/metrics.md')];
  const missing = told.flatMap(namesIn).filter((name) => !seen.families.has(name));
  expect(missing).toEqual([]);
});

test('every metric of ours is documented, with what it says of itself', () => {
  const documented = read('docs/metrics.md');
  const helps = [...seen.text.matchAll(/^# HELP (whorl_\S+) (.*)$/gm)];
  expect(helps.length).toBeGreaterThan(40);
  for (const [, name, help] of helps) {
    const line = documented.split('\n').find((one) => one.startsWith(`| \`${name}\` |`));
    expect(line, name).toContain(help);
  }
});

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { h: number; w: number; x: number; y: number };
  targets?: { refId: string; expr: string; datasource: { uid: string } }[];
}

test('the dashboard is one that Grafana takes: panels in the grid, queries that parse, the data source a variable', async () => {
  const board = JSON.parse(read('deploy/grafana/whorl.json')) as {
    uid: string;
    schemaVersion: number;
    templating: { list: { name: string; type: string }[] };
    panels: Panel[];
  };
  expect(board.schemaVersion).toBeGreaterThanOrEqual(36);
  expect(board.templating.list.map(({ name, type }) => [name, type])).toContainEqual(['datasource', 'datasource']);
  expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length);
  const cells = new Set<string>();
  for (const { gridPos, title } of board.panels) {
    expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(cells.has(`${x} ${y}`), `${title} lies on another panel`).toBe(false);
        cells.add(`${x} ${y}`);
      }
  }
  const targets = board.panels.flatMap((panel) => panel.targets ?? []);
  expect(targets.length).toBeGreaterThan(30);
  expect(targets.every(({ datasource }) => datasource.uid === '${datasource}')).toBe(true);
  // promtool has no parser of its own for queries, but rules are made of them.
  const groups = [
    {
      name: 'dashboard',
      rules: targets.map(({ expr }, n) => ({
        record: `panel:${n}`,
        expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', '.*'),
      })),
    },
  ];
  const rulesOf = JSON.stringify({ groups });
  const folder = mkdtempSync(path.join(tmpdir(), 'whorl-dashboard-'));
  writeFileSync(path.join(folder, 'rules.yml'), rulesOf);
  await promtool(['check', 'rules', '--lint=none', path.join(folder, 'rules.yml')]);
  rmSync(folder, { recursive: true });
});
