/** the record types of Tangled that pass over event streams (generations A and B) */
export const NSID = {
  pipeline: 'sh.tangled.pipeline',
  pipelineStatus: 'sh.tangled.pipeline.status',
  refUpdate: 'sh.tangled.git.refUpdate',
  repo: 'sh.tangled.repo',
  repoCollaborator: 'sh.tangled.repo.collaborator',
  spindleMember: 'sh.tangled.spindle.member',
} as const;
