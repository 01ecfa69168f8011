import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Something that a target did with an input and should not. */
export interface Finding {
  target: string;
  seed: number;
  /** What went wrong, in words; of an error its stack. */
  what: string;
  /** Two findings with the same are one. */
  signature: string;
  input: Buffer;
}

/** A time, a number or a quoted text differs each time; where it was thrown does not. */
export function signatureOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, 200);
  const at = /\((?:file:\/\/)?[^()]*?((?:src|sim)\/[^():]+:\d+)/.exec(error.stack ?? '')?.[1] ?? '';
  const message = (error.message.split('\n')[0] ?? '').slice(0, 300).replaceAll(/"(?:[^"\\]|\\.)*"?|\d+/g, '…');
  return `${error.name}: ${message.slice(0, 160)} ${at}`.trim();
}

export const wordsOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

/** How an input is shown: as text if it is some, else as base64; never all of a large one. */
export function shownInput(input: Buffer): string {
  const text = input.toString('utf8');
  const plain = Buffer.from(text).equals(input);
  const shown = plain ? JSON.stringify(text) : `base64 ${input.toString('base64')}`;
  return shown.length > 2_000 ? `${shown.slice(0, 2_000)}… (${input.length} bytes in all)` : shown;
}

/** Writes the input and what is known of it into a folder; gives the name of the input's file. */
export async function saveFinding(folder: string, finding: Finding, n: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, `${finding.target}-${n}.input`);
  await writeFile(file, finding.input);
  const about = [
    `target ${finding.target}`,
    `seed ${finding.seed}`,
    '',
    finding.what,
    '',
    shownInput(finding.input),
    '',
  ];
  await writeFile(path.join(folder, `${finding.target}-${n}.txt`), about.join('\n'));
  return file;
}

/** What is printed of a finding. */
export const describeFinding = ({ target, seed, what, input }: Finding, file: string): string =>
  [
    `FOUND in ${target} (seed ${seed}):`,
    ...what
      .split('\n')
      .slice(0, 12)
      .map((line) => `  ${line}`),
    `  input: ${shownInput(input)}`,
    `  again: npm run fuzz -- --target ${target} --input ${file}`,
  ].join('\n');
