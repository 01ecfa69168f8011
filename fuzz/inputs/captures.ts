import { readFileSync } from 'node:fs';
import path from 'node:path';

const fixtures = path.join(import.meta.dirname, '../../test/fixtures');

/** Lines that were captured of the real thing, or of the simulators that speak as it does. */
function linesOf(name: string): string[] {
  const lines = readFileSync(path.join(fixtures, name), 'utf8').split('\n');
  return lines.filter((line) => line !== '');
}

export const knotEvents: readonly string[] = linesOf('knot-events.ndjson');
export const jetstreamEvents: readonly string[] = linesOf('jetstream-events.ndjson');
export const webhookBodies: readonly string[] = linesOf('fuzz/webhooks.ndjson');
export const apiAnswers: readonly string[] = linesOf('fuzz/answers.ndjson');
