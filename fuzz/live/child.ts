import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadConfig } from '../../src/config/index.ts';
import { createLogger } from '../../src/log.ts';
import { healthPart, publicFace, webhookPart } from '../../src/roles/faces.ts';
import { startIngest } from '../../src/roles/ingest.ts';
import { temporalOn } from '../../src/temporal/where.ts';
import { openDatabase } from '../../src/store/db.ts';
import type { Asked, Told } from './spindle.ts';

/*
 * A spindle that is fuzzed: its public face and its ingest, as `whorl up` has them, with shorter waits. There is no
 * Temporal, so dispatch does all of its work but the last call. Whatever nobody catches ends it, as it would in production.
 */

const { config } = loadConfig(process.env);
const log = createLogger({ level: process.env['WHORL_LOG_LEVEL'] ?? 'error', format: 'json' });
const sql = openDatabase(config.database.url ?? '', { max: 10, applicationName: 'fuzz' });
const deps = { config, sql, log, temporal: temporalOn('127.0.0.1:1', 'default') };
const tell = (message: Told): void => void process.send?.(message);

const face = await publicFace(deps, config.listen, [webhookPart(deps), healthPart(deps)]);
await startIngest(deps, {
  knots: { drainIdleMs: 200, redialMinMs: 5, redialMaxMs: 20, saveMs: 200 },
  jetstream: { redialMinMs: 50, redialMaxMs: 200, saveMs: 200 },
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

process.on('message', (asked: Asked) => {
  if (asked === 'memory') {
    collect();
    tell({ kind: 'memory', heap: process.memoryUsage().heapUsed, rss: process.memoryUsage().rss });
  }
});
process.on('disconnect', () => process.exit(0));
tell({ kind: 'ready', url: face.url });
