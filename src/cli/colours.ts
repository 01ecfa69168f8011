import type { PipelineState } from '../store/pipeline-list.ts';
import type { Status } from '../pipeline/status.ts';

const codes = { green: 32, red: 31, yellow: 33, cyan: 36, grey: 90, bold: 1 } as const;
export type Colour = keyof typeof codes;

export const coloured = (text: string, colour: Colour): string => `\u001b[${codes[colour]}m${text}\u001b[0m`;

const colourOf: Record<Status | PipelineState, Colour> = {
  parked: 'yellow',
  pending: 'grey',
  running: 'cyan',
  success: 'green',
  failed: 'red',
  timeout: 'red',
  cancelled: 'yellow',
  empty: 'grey',
};

const isState = (text: string): text is keyof typeof colourOf => Object.hasOwn(colourOf, text);

/** For tables: the head is bold, and the states in this column have their colours. Undefined without colours. */
export const paintStates = (colours: boolean | undefined, column: number) =>
  colours
    ? (cell: string, at: number, row: number): string => {
        if (cell === '') return cell;
        if (row === 0) return coloured(cell, 'bold');
        return at === column && isState(cell) ? coloured(cell, colourOf[cell]) : cell;
      }
    : undefined;
