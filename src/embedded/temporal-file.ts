import path from 'node:path';

/** Holds the address of the Temporal that runs under this folder, so that commands find it. */
export const temporalFile = (dir: string): string => path.join(dir, 'temporal.address');
