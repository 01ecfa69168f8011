import { currentUpdateInfo } from '@temporalio/workflow';
import type { CommandInput } from './messages.ts';

/** For the descriptions of updates: people read it in the Temporal UI, above the field Data. */
export const data = 'Data is optional: {"job": "ci.yml", "by": "your name"}.';

/** What a person sends from the Temporal UI may lack anything; the update has an id of its own. */
export const whole = (command?: Partial<CommandInput>): CommandInput => ({
  ...command,
  id: command?.id ?? currentUpdateInfo()?.id ?? '',
  by: command?.by ?? 'somebody at Temporal',
});
