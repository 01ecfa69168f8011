import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logLine, logTime, stepEnd, stepStart } from '../../src/forges/tangled/log.ts';

const at = Date.UTC(2026, 0, 10, 12, 0, 5, 123);

describe('frames of a log', () => {
  test('are the JSON that a stock spindle sends, key for key', () => {
    const step = { step: 1, name: 'Run tests', command: 'make test', at };
    expect(stepStart(step)).toBe(
      '{"kind":"control","content":"Run tests","time":"2026-01-10T12:00:05.123000000Z","step_id":1,"step_status":"start","step_kind":1,"step_command":"make test"}',
    );
    expect(logLine({ step: 1, text: 'ok 12 tests', at })).toBe(
      '{"kind":"data","content":"ok 12 tests","time":"2026-01-10T12:00:05.123000000Z","step_id":1,"stream":"stdout"}',
    );
    expect(stepEnd(step)).toBe(
      '{"kind":"control","content":"Run tests","time":"2026-01-10T12:00:05.123000000Z","step_id":1,"step_status":"end","step_kind":1,"step_command":"make test"}',
    );
  });

  test('leave out the kind of a system step, and a command that is none', () => {
    expect(stepStart({ step: 0, name: 'Preparing', system: true, at })).toBe(
      '{"kind":"control","content":"Preparing","time":"2026-01-10T12:00:05.123000000Z","step_id":0,"step_status":"start"}',
    );
  });

  test.each<[ms: number, time: string]>([
    [0, '1970-01-01T00:00:00.000000000Z'],
    [at + 0.7, '2026-01-10T12:00:05.123000000Z'],
    [-1, '1970-01-01T00:00:00.000000000Z'],
    [Number.NaN, '1970-01-01T00:00:00.000000000Z'],
    [Number.POSITIVE_INFINITY, '9999-12-31T23:59:59.999000000Z'],
  ])('the time %d is written as %s', (ms, time) => {
    expect(logTime(ms)).toBe(time);
  });

  test('hold nothing that moves a cursor, breaks a line or is half a character', () => {
    const text = 'a\0b\x07c\x1b]0;title\x07d\x9b2Je\x1b[31mred\x1b[0m\tt\r\nx\ud800y\x1b';
    const { content } = JSON.parse(logLine({ step: 0, text, at })) as { content: string };
    expect(content).toBe(
      'a\ufffdb\ufffdc\ufffd]0;title\ufffdd\ufffd2Je\x1b[31mred\x1b[0m\tt\ufffd\ufffdx\ufffdy\ufffd',
    );
    expect(stepStart({ step: 0, name: 'a\n\x1b[31mb\x1b[0m\tc\0', at })).toContain('"content":"a b c\ufffd"');
  });

  test('are one line of well-formed JSON, whatever the text', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(text, text, fc.double(), (name, line, ms) => {
        for (const frame of [
          stepStart({ step: 3, name, command: line, at: ms }),
          logLine({ step: 3, text: line, at: ms }),
        ]) {
          expect(frame).not.toMatch(/[\n\r\0]/);
          expect(frame).not.toMatch(/\\u(?:0000|d[89a-f])/);
          const { content, time } = JSON.parse(frame) as { content: string; time: string };
          expect(content.isWellFormed()).toBe(true);
          expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
        }
      }),
    );
  });
});
