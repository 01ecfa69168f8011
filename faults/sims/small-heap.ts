import { setFlagsFromString } from 'node:v8';

// What lives long in a simulator are small records, and garbage is plenty: left alone, the heap grows to several times of
// what is in use before anything is collected, on a machine that has a whole world to hold.
setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--max-semi-space-size=8');
setFlagsFromString('--heap-growing-percent=50');
