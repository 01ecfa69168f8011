import type { Target } from '../target.ts';
import { allowTarget } from './allow.ts';
import { answersTarget } from './answers.ts';
import { environmentTarget } from './environment.ts';
import { knotFramesTarget } from './knot-frames.ts';
import { logBytesTarget, logFramesTarget } from './logs.ts';
import { namesTarget } from './names.ts';
import { jetstreamFramesTarget, recordsTarget } from './network.ts';
import { pathsTarget } from './paths.ts';
import { webhooksTarget } from './webhooks.ts';
import { workflowsTarget } from './workflows.ts';

/** What needs no server and no database. */
export const pureTargets: readonly Target[] = [
  knotFramesTarget,
  jetstreamFramesTarget,
  recordsTarget,
  namesTarget,
  webhooksTarget,
  answersTarget,
  logBytesTarget,
  logFramesTarget,
  workflowsTarget,
  environmentTarget,
  pathsTarget,
  allowTarget,
];
