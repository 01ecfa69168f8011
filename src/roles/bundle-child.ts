import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

// Whoever wanted the bundle is gone.
process.once('disconnect', () => process.exit(1));
const workflowsPath = fileURLToPath(new URL('../workflows/index.ts', import.meta.url));
const bundle = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
process.send?.(bundle, () => process.exit(0));
