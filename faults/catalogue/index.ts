import type { Fault } from '../contract.ts';
import { ciFaults } from './ci.ts';
import { clockFaults } from './clocks.ts';
import { fleetFaults } from './fleet.ts';
import { freezes } from './freezes.ts';
import { kills } from './kills.ts';
import { linkFaults } from './links.ts';
import { peopleFaults, readerFaults } from './people.ts';
import { postgresFaults, temporalFaults } from './services.ts';
import { streamFaults } from './streams.ts';

/**
 * Everything that a run does to Whorl. Each fault books what it did, undoes it, and chooses by its dice alone; what it is
 * done to may depend on what there is.
 */
export const catalogue: readonly Fault[] = [
  ...kills,
  ...freezes,
  ...fleetFaults,
  ...ciFaults,
  ...temporalFaults,
  ...postgresFaults,
  ...linkFaults,
  ...streamFaults,
  ...clockFaults,
  ...peopleFaults,
  ...readerFaults,
];
