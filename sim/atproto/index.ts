export * from './faults.ts';
export { manualClock } from './clock.ts';
export { type JetstreamOptions, type JetstreamSim, startJetstream } from './jetstream.ts';
export * from './network.ts';
export { type PdsOptions, type PdsSim, startPds } from './pds.ts';
export { type PlcSim, startPlc } from './plc.ts';
