export { pipeline } from './pipeline.ts';
export { housekeeping } from './housekeeping.ts';
