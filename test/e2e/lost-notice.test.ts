import { randomUUID } from 'node:crypto';
import { test, vi } from 'vitest';
import { shareOfPipelineId } from '../../src/pipeline/share.ts';
import { commandResult } from '../../src/store/commands.ts';
import { buildOf, ownSpindle } from '../support/pipelines.ts';
import { buildkiteFile } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

test('a row whose notice was lost is carried all the same, and one that is due later when it is due', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  await buildOf(whorl, pushed);
  const id = randomUUID();
  // Due soon after the first look that can see it, and so before the second.
  await whorl.sql`
    insert into commands (id, share, pipeline, kind, by, due_at)
    values (${id}, ${shareOfPipelineId(pushed.id)}, ${pushed.id}, 'cancel', 'tester', clock_timestamp() + interval '11 s')`;
  await until('the command', async () => (await commandResult(whorl.sql, id))?.state === 'done', 30_000);
});
