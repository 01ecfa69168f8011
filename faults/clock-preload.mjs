/*
 * Loaded before a role's own code (`node --import`): its clock, as JavaScript sees it, is ahead of the machine's by as many
 * milliseconds as the file FAULTS_CLOCK_FILE says. Timers go on as before; Temporal's native core has the true clock.
 */
import { readFileSync } from 'node:fs';
import process from 'node:process';

const file = process.env['FAULTS_CLOCK_FILE'];
const TrueDate = Date;
const trueNow = Date.now;
let offset = 0;

const read = () => {
  try {
    offset = Number(readFileSync(String(file), 'utf8')) || 0;
  } catch {
    offset = 0;
  }
};

if (file !== undefined) {
  read();
  setInterval(read, 150).unref();
  TrueDate.now = () => trueNow() + offset;
  globalThis.Date = new Proxy(TrueDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length > 0 ? args : [trueNow() + offset], newTarget),
    apply: () => new TrueDate(trueNow() + offset).toString(),
  });
}
