import { askedShapes } from './shapes-asked.ts';
import { plainShapes } from './shapes-plain.ts';

export const shapes = [...plainShapes, ...askedShapes];
