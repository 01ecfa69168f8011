/** What a forge is told about a job. The words are those of `sh.tangled.pipeline.status`. */
export const statuses = ['pending', 'running', 'success', 'failed', 'timeout', 'cancelled'] as const;

export type Status = (typeof statuses)[number];

/** pending 0 < running 1 < every end 2: a job's status never goes down in rank within one attempt and epoch. */
export const rankOf = (status: Status): 0 | 1 | 2 => (status === 'pending' ? 0 : status === 'running' ? 1 : 2);

export const isEnd = (status: Status): boolean => rankOf(status) === 2;
