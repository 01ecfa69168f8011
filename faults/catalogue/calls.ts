/* The calls of Whorl that matter: to a CI, and to Temporal. */
import { cancels, losesAnswers, readsLog } from './causes.ts';
import type { Moment } from './points.ts';

export const creates: Moment = { name: 'a build is created', role: 'worker', match: /^POST \S+\/builds(?:\?|$)/ };

export const ciCalls: readonly Moment[] = [
  creates,
  {
    name: 'a build is searched',
    role: 'worker',
    match: /^GET \S+\/pipelines\/[^/]+\/builds\?/,
    cause: losesAnswers,
  },
  { name: 'builds are read', role: 'worker', match: /^GET \S+\/builds(?:\/\d+)?(?:\?|$)/ },
  { name: 'a build is cancelled', role: 'worker', match: /^PUT \S+\/cancel(?:\?|$)/, cause: cancels },
  { name: 'a log is read', role: 'worker', match: /^GET \S+\/log(?:\?|$)/, cause: readsLog },
];

export const startCalls: Moment = { name: 'a workflow is started', role: 'ingest', match: /^StartWorkflowExecution$/ };
export const signalCalls: Moment = {
  name: 'a workflow is signalled',
  role: 'ingest',
  match: /^SignalWorkflowExecution$/,
};

export const temporalCalls: readonly Moment[] = [
  startCalls,
  signalCalls,
  { name: 'a command is carried', role: 'ingest', match: /^UpdateWorkflowExecution$/, cause: cancels },
  { name: 'a workflow task is completed', role: 'worker', match: /^RespondWorkflowTaskCompleted$/ },
  { name: 'an activity is completed', role: 'worker', match: /^RespondActivityTaskCompleted$/ },
];
