import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadConfig, loadToolConfig } from '../../src/config/index.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

const healthy = 'service_healthy';
const done = 'service_completed_successfully';
const text = z.union([z.string(), z.number()]).transform(String);

/** As much of a compose file as is needed to see that its parts fit together. */
const compose = z
  .object({
    services: z.record(
      z.string(),
      z.object({
        image: z.string(),
        restart: z.string(),
        entrypoint: z.array(z.string()).optional(),
        command: z.array(z.string()).default([]),
        depends_on: z.record(z.string(), z.object({ condition: z.enum([healthy, done]) })).default({}),
        environment: z.record(z.string(), text).default({}),
        secrets: z.array(z.string()).default([]),
        ports: z.array(z.string()).default([]),
        read_only: z.boolean().default(false),
        cap_drop: z.array(z.string()).default([]),
        security_opt: z.array(z.string()).default([]),
        stop_grace_period: z.string().optional(),
        logging: z.object({ options: z.object({ 'max-size': z.string(), 'max-file': z.string() }) }),
        deploy: z.object({ resources: z.object({ limits: z.object({ cpus: z.string(), memory: z.string() }) }) }),
        volumes: z.array(z.string()).default([]),
        healthcheck: z.object({ test: z.array(z.string()) }).optional(),
      }),
    ),
    secrets: z.record(z.string(), z.object({ file: z.string() })),
    volumes: z.record(z.string(), z.null()),
  })
  .parse(parse(read('docker-compose.yml'), { merge: true }));

const services = Object.entries(compose.services);
const roles = ['ingest', 'worker', 'server'] as const;

/** `.env.example` as compose reads it. */
const dotenv = Object.fromEntries(
  read('.env.example')
    .split('\n')
    .flatMap((line) => (/^[A-Z]/.test(line) ? [line.split(/=(.*)/s).slice(0, 2)] : [])),
);

/** What the operator is told to put into `./secrets`. */
const secretFiles: Record<string, string> = {
  '/run/secrets/database_url': 'postgres://whorl:0123456789abcdef@postgres:5432/whorl\n',
  '/run/secrets/buildkite_token': 'bkua_token\n',
  '/run/secrets/buildkite_webhook_secret': 'hook\n',
};

function environmentOf(name: string): Record<string, string> {
  const interpolate = (value: string): string =>
    value.replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, variable: string, kind?: string, fallback = '') => {
      const set = dotenv[variable] ?? '';
      if (set === '' && kind === '?') throw new Error(`${variable} must be in .env.example`);
      return set === '' && kind === '-' ? fallback : set;
    });
  const entries = Object.entries(compose.services[name]?.environment ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, interpolate(value)]));
}

/** Only the secrets that the service is given can be read, as in its container. */
function secretsOf(name: string): (path: string) => string {
  const mounted = (compose.services[name]?.secrets ?? []).map((secret) => `/run/secrets/${secret}`);
  return (path) => {
    const held = mounted.includes(path) ? secretFiles[path] : undefined;
    if (held === undefined) throw new Error(`ENOENT: ${path}`);
    return held;
  };
}

describe('docker-compose.yml', () => {
  test.each(roles)('gives the %s role a configuration without problems, from .env.example', (role) => {
    const { config, warnings } = loadConfig(environmentOf(role), secretsOf(role), role);
    expect(config.hostname).toBe(dotenv.WHORL_HOSTNAME);
    expect(config.buildkite !== undefined).toBe(role !== 'server');
    expect(warnings.filter((warning) => !warning.startsWith('WHORL_BUILDKITE_ALLOW is not set'))).toEqual([]);
    const port = { ingest: config.webhooks, worker: config.health, server: config.listen }[role].port;
    expect(compose.services[role]?.healthcheck?.test.join(' ')).toContain(`http://127.0.0.1:${port}/healthz`);
  });

  test('gives `whorl migrate` the database', () => {
    const { config, warnings } = loadToolConfig(environmentOf('migrate'), secretsOf('migrate'));
    expect(config.database.url).toContain('@postgres:5432/');
    expect(warnings).toEqual([]);
  });

  test('runs each of our commands in our image', () => {
    const ours = services.filter(([, { image }]) => image === 'whorl').map(([name, { command }]) => [name, ...command]);
    expect(ours).toEqual(['migrate', ...roles].map((name) => [name, name]));
  });

  test('holds no secret itself: each is a file, and a password is named only by its file', () => {
    for (const [name, { environment }] of services) {
      for (const [key, value] of Object.entries(environment)) {
        if (/PASSWORD|PWD|TOKEN|SECRET|DATABASE_URL|API_KEY/.test(key)) {
          expect(key, name).toMatch(/_FILE$/);
          expect(value).toMatch(/^\/run\/secrets\//);
          expect(compose.services[name]?.secrets).toContain(value.replace('/run/secrets/', ''));
        }
      }
    }
    expect(read('docker-compose.yml').replaceAll(/\$\$?[({].*[)}]/g, '')).not.toMatch(/:\/\/\w+:\w+@/);
  });

  test('bounds every service: memory, cores, logs, rights, and what it publishes', () => {
    for (const [name, service] of services) {
      expect(service.cap_drop, name).toEqual(['ALL']);
      expect(service.security_opt, name).toEqual(['no-new-privileges:true']);
      expect(service.restart, name).toMatch(/^(unless-stopped|on-failure:\d+)$/);
      for (const port of service.ports) expect(port, name).toMatch(/^(127\.0\.0\.1|\$\{PUBLISH_ON:-127\.0\.0\.1\}):/);
      if (service.image === 'whorl') expect(service.read_only, name).toBe(true);
    }
  });

  test('gives every service that stays a health check, but for the UI, which nothing waits for', () => {
    const staying = services.filter(([name, { restart }]) => restart === 'unless-stopped' && name !== 'temporal-ui');
    expect(staying.map(([name]) => name).sort()).toEqual(['ingest', 'postgres', 'server', 'temporal', 'worker']);
    for (const [name, { healthcheck }] of staying) expect(healthcheck, name).toBeDefined();
  });

  test.each(roles)('gives the %s role more time to stop than it takes to drain', (role) => {
    const { config } = loadConfig(environmentOf(role), secretsOf(role), role);
    const grace = /^(\d+)s$/.exec(compose.services[role]?.stop_grace_period ?? '')?.[1];
    expect(Number(grace) * 1000).toBeGreaterThan(config.drainMs + 10_000);
  });

  test('waits only for what can come: a health check, or an end', () => {
    for (const [name, { depends_on }] of services) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const target = compose.services[other];
        expect(target, `${name} waits for ${other}`).toBeDefined();
        if (condition === healthy) expect(target?.healthcheck, `${other} has no health check`).toBeDefined();
        else expect(target?.restart, `${other} never ends`).toMatch(/^on-failure/);
      }
    }
  });

  test('declares every secret that it uses, uses every one, and mounts only what is in the repository', () => {
    const used = new Set(services.flatMap(([, { secrets }]) => secrets));
    expect([...used].sort()).toEqual(Object.keys(compose.secrets).sort());
    for (const [name, { file }] of Object.entries(compose.secrets)) expect(file).toBe(`./secrets/${name}`);
    for (const volume of services.flatMap(([, { volumes }]) => volumes)) {
      const [source = '', , mode] = volume.split(':');
      if (!source.startsWith('./')) expect(Object.keys(compose.volumes)).toContain(source);
      else expect([source, mode]).toEqual(['./temporal', 'ro']);
    }
    const scripts = services.flatMap(([, { entrypoint }]) => entrypoint?.filter((part) => part.endsWith('.sh')) ?? []);
    expect(scripts.length).toBeGreaterThan(0);
    for (const script of scripts) expect(read(script.replace('/etc/temporal/whorl/', 'temporal/'))).toMatch(/^#!/);
    expect(() => read('temporal/dynamicconfig.yaml') + read('temporal/search-attributes.json')).not.toThrow();
  });

  test('has the server and the UI of the dev server that we test with, and no image that moves', () => {
    const modules = read('temporal/go.mod');
    const server = /go\.temporal\.io\/server v(\S+)/.exec(modules)?.[1];
    const ui = /temporalio\/ui-server\/v2 v(\S+)/.exec(modules)?.[1];
    const images = services.map(([, { image }]) => image).filter((image) => image.startsWith('temporalio/'));
    expect([...new Set(images)].sort()).toEqual([
      `temporalio/admin-tools:${server}`,
      `temporalio/server:${server}`,
      `temporalio/ui:${ui}`,
    ]);
    for (const [, { image }] of services) expect(image).toMatch(/^whorl$|:\d/);
  });
});
