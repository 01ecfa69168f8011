import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { Member, RoleName } from './contract.ts';
import type { Crash } from './evidence.ts';

export interface Supervised extends Member {
  /** Resolves when it has said that it is ready, since its last start. */
  ready(): Promise<void>;
  /** What it logs from now on, line by line. */
  onLine(listener: (line: string) => void): void;
  /** SIGTERM, SIGKILL after a while; it is not started again. */
  stop(): Promise<void>;
}

export interface MemberOptions {
  name: string;
  role: RoleName;
  env: Record<string, string>;
  links: Member['links'];
  /** For its log and its clock. */
  dir: string;
  onCrash(crash: Crash): void;
}

const main = path.join(import.meta.dirname, '../src/main.ts');
const preload = pathToFileURL(path.join(import.meta.dirname, 'clock-preload.mjs')).href;
/** As a process manager does: what ended by itself is started again after this, ms. */
const restartMs = 1_000;

/** One process of Whorl, kept running as a process manager keeps it. */
export function supervise({ name, role, env, links, dir, onCrash }: MemberOptions): Supervised {
  const clockFile = path.join(dir, `${name}.clock`);
  writeFileSync(clockFile, '0');
  const log = createWriteStream(path.join(dir, `${name}.log`));
  const listeners: ((line: string) => void)[] = [];
  let lastLines: string[] = [];
  let child: ChildProcess | undefined;
  let isReady = Promise.withResolvers<void>();
  let gone: Promise<void> = Promise.resolve();
  let killedFor: number | undefined;
  let stopping = false;
  let restart: NodeJS.Timeout | undefined;

  const start = (): void => {
    if (stopping) return;
    isReady = Promise.withResolvers<void>();
    isReady.promise.catch(() => {});
    killedFor = undefined;
    lastLines = [];
    const startedAt = Date.now();
    const { PATH, HOME } = process.env;
    const started = spawn(process.execPath, ['--max-semi-space-size=16', '--import', preload, main, role], {
      env: { PATH, HOME, ...env, FAULTS_CLOCK_FILE: clockFile },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    // Of a run that breaks off, nothing stays behind.
    const endWithUs = (): void => void started.kill('SIGKILL');
    process.once('exit', endWithUs);
    const ended = Promise.withResolvers<void>();
    gone = ended.promise;
    const { stderr } = started;
    if (stderr)
      createInterface({ input: stderr }).on('line', (line) => {
        log.write(`${line}\n`);
        lastLines = [...lastLines.slice(-14), line.slice(0, 1_000)];
        if (line.includes(`"msg":"${role} is ready"`)) isReady.resolve();
        for (const listener of listeners) listener(line);
      });
    started.once('error', (error) => log.write(`${String(error)}\n`));
    started.once('close', (code, signal) => {
      process.off('exit', endWithUs);
      log.write(`-- ${name} (${started.pid}) ended: ${signal ?? code}\n`);
      child = undefined;
      ended.resolve();
      if (stopping) return;
      if (killedFor === undefined) onCrash({ process: name, startedAt, at: Date.now(), code, signal, lastLines });
      restart = setTimeout(start, killedFor ?? restartMs);
    });
  };
  start();

  return {
    name,
    role,
    links,
    get pid() {
      return child?.pid;
    },
    get alive() {
      return child !== undefined;
    },
    kill(afterMs) {
      if (!child || killedFor !== undefined) return;
      killedFor = afterMs;
      child.kill('SIGKILL');
    },
    freeze(ms) {
      const frozen = child;
      if (!frozen) return;
      frozen.kill('SIGSTOP');
      setTimeout(() => frozen.kill('SIGCONT'), ms);
    },
    clock: (offsetMs) => writeFileSync(clockFile, String(Math.round(offsetMs))),
    async ready() {
      await isReady.promise;
    },
    onLine: (listener) => void listeners.push(listener),
    async stop() {
      stopping = true;
      clearTimeout(restart);
      const last = child;
      last?.kill('SIGCONT');
      last?.kill('SIGTERM');
      const timer = setTimeout(() => last?.kill('SIGKILL'), 8_000);
      await gone;
      clearTimeout(timer);
      log.end();
    },
  };
}
