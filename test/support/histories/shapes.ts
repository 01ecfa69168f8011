import { houseName } from '../../../src/roles/housekeeping.ts';
import { askedShapes } from './shapes-asked.ts';
import { plainShapes } from './shapes-plain.ts';
import type { Shape } from './shape.ts';

/** What removes old things, as its schedule starts it. */
const housekeeping: Shape = {
  name: 'housekeeping',
  async workflow({ client, config: { taskQueue } }) {
    const handle = await client.workflow.start('housekeeping', { workflowId: houseName(taskQueue), taskQueue });
    await handle.result();
    return handle.workflowId;
  },
  has: ['logs', 'tidyLogs', 'sources', 'tidySources', 'workflow_execution_completed'],
};

export const shapes: readonly Shape[] = [...plainShapes, ...askedShapes, housekeeping];
