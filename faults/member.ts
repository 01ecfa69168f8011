import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Member, RoleName } from './contract.ts';
import type { Crash } from './evidence.ts';

export interface Supervised extends Member {
  /** Told to stop, and not started again before `wake`. Resolves when it is gone, which does not take it long. */
  rest(): Promise<void>;
  wake(): void;
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
  /** The tree of the release that it runs, this one unless said otherwise. */
  root?: string;
  onCrash(crash: Crash): void;
}

const preload = pathToFileURL(path.join(import.meta.dirname, 'clock-preload.mjs')).href;
const here = path.join(import.meta.dirname, '..');
/** As a process manager does: what ended by itself is started again after this, ms. */
const restartMs = 1_000;
/** Whoever was told to stop and does not end is killed after this, ms: longer than WHORL_DRAIN_TIME, which is 20 s. */
const drainMs = 25_000;
/** The same when nobody waits for what it does, ms. */
const hurryMs = 8_000;
/** So long one waits for a process that was replaced, ms; it may have been killed meanwhile. */
const readyMs = 20_000;

/** One process of Whorl, kept running as a process manager keeps it. */
export function supervise({ name, role, env, links, dir, onCrash, ...options }: MemberOptions): Supervised {
  const clockFile = path.join(dir, `${name}.clock`);
  writeFileSync(clockFile, '0');
  const log = createWriteStream(path.join(dir, `${name}.log`));
  let lastLines: string[] = [];
  let child: ChildProcess | undefined;
  let isReady = Promise.withResolvers<void>();
  let gone: Promise<void> = Promise.resolve();
  let killedFor: number | undefined;
  let killed = false;
  let toldAt: number | undefined;
  let { root = here } = options;
  let resting = false;
  let stopping = false;
  let restart: NodeJS.Timeout | undefined;

  const start = (): void => {
    if (stopping || resting || child) return;
    isReady = Promise.withResolvers<void>();
    [killedFor, toldAt, killed] = [undefined, undefined, false];
    lastLines = [];
    const startedAt = Date.now();
    const { PATH, HOME } = process.env;
    const started = spawn(
      process.execPath,
      ['--max-semi-space-size=16', '--import', preload, path.join(root, 'src/main.ts'), role],
      {
        env: { PATH, HOME, ...env, FAULTS_CLOCK_FILE: clockFile },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
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
      });
    started.once('error', (error) => log.write(`${String(error)}\n`));
    started.once('close', (code, signal) => {
      process.off('exit', endWithUs);
      log.write(`-- ${name} (${started.pid}) ended: ${signal ?? code}\n`);
      child = undefined;
      ended.resolve();
      if (stopping || resting) return;
      // Node was still reading its code: it ends as any process does.
      const unbegun = toldAt !== undefined && signal === 'SIGTERM' && lastLines.length === 0;
      const crashed = killedFor === undefined || (toldAt !== undefined && code !== 0 && !killed && !unbegun);
      const told = toldAt === undefined ? {} : { toldAt };
      if (crashed) onCrash({ process: name, startedAt, ...told, at: Date.now(), code, signal, lastLines });
      restart = setTimeout(start, killedFor ?? restartMs);
    });
  };
  start();

  /** SIGTERM, and SIGKILL after so many ms. */
  const end = async (limitMs: number): Promise<void> => {
    const last = child;
    last?.kill('SIGCONT');
    last?.kill('SIGTERM');
    const timer = setTimeout(() => last?.kill('SIGKILL'), limitMs);
    await gone;
    clearTimeout(timer);
  };

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
      if (!child || killed) return;
      killed = true;
      killedFor ??= afterMs;
      child.kill('SIGKILL');
    },
    async drain(afterMs) {
      if (!child || killedFor !== undefined) return false;
      killedFor = afterMs;
      toldAt = Date.now();
      await end(drainMs);
      return true;
    },
    async replace(by = root) {
      root = by;
      if (!(await this.drain(0))) return false;
      // Started again as soon as the end of the other one was seen.
      await delay(50);
      await Promise.race([isReady.promise, delay(readyMs, undefined, { ref: false })]);
      return true;
    },
    async rest() {
      resting = true;
      clearTimeout(restart);
      await end(hurryMs);
    },
    wake() {
      resting = false;
      start();
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
    async stop() {
      stopping = true;
      clearTimeout(restart);
      await end(hurryMs);
      log.end();
    },
  };
}
