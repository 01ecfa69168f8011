import { usageError } from './errors.ts';

/** Reads an option that is a whole number from 1 to `most`. */
export const count =
  (name: string, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
    throw usageError(`${name} must be a whole number from 1 to ${most}, and not ${JSON.stringify(text)}`);
  };
