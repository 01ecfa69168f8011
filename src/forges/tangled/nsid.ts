/** the record types of Tangled that pass over event streams (generations A and B) */
export const NSID = {
  pipeline: 'sh.tangled.pipeline',
  pipelineStatus: 'sh.tangled.pipeline.status',
  refUpdate: 'sh.tangled.git.refUpdate',
  member: 'sh.tangled.spindle.member',
  repo: 'sh.tangled.repo',
  collaborator: 'sh.tangled.repo.collaborator',
} as const;
