import { createInterface } from 'node:readline';
import { Command } from 'commander';
import { type AppviewSim, startAppview } from './appview.ts';
import type { Outcome } from './book.ts';
import { logText, logUrl, readLog } from './log-reader.ts';
import { register } from './register.ts';
import { pipelineTable } from './table.ts';

type Options = {
  spindle: string;
  knot: string[];
  redial: string;
  reopenings?: boolean;
  register?: string;
  log?: string;
};

/** `sim appview`: reads a spindle's `/events` strictly and prints what its users would see. */
export function appviewCommand(): Command {
  return new Command('appview')
    .description("a strict reader of a spindle's /events, with the rules of a real appview")
    .requiredOption('--spindle <url>', 'the spindle to read, such as ws://127.0.0.1:6555')
    .option('--knot <url...>', 'knots to learn pipelines from; without any, every pipeline counts as known', [])
    .option('--redial <ms>', 'pause before it dials again', '60000')
    .option('--reopenings', 'a job that ended may start again')
    .option('--register <did>', 'only check whether this DID may register the spindle')
    .option('--log <knot/rkey/workflow>', 'only read the log of a job, to its end')
    .action(async ({ spindle, knot, redial, reopenings = false, register: did, log }: Options) => {
      if (did !== undefined) {
        const answer = await register(spindle, did);
        console.log(answer.ok ? `verified: ${answer.owner}` : answer.message);
        process.exitCode = answer.ok ? 0 : 1;
        return;
      }
      if (log !== undefined) {
        const [logKnot = '', rkey = '', ...workflow] = log.split('/');
        const url = logUrl(spindle, logKnot, rkey, workflow.join('/'));
        console.log(logText(await readLog(url, { ms: 24 * 3_600_000 })));
        return;
      }
      const told = new Set<string>();
      const appview = startAppview({
        spindleUrl: spindle,
        pipelinesFrom: knot.length > 0 ? knot : () => true,
        redialMs: Number(redial),
        reopenings,
        onFrame(outcome) {
          console.log(outcomeLine(outcome));
          for (const problem of appview.problems.filter((each) => !told.has(each))) {
            told.add(problem);
            console.log(`! ${problem}`);
          }
        },
      });
      console.log(`reading ${spindle}; Enter shows the table, Ctrl-C ends`);
      const lines = createInterface({ input: process.stdin });
      lines.on('line', () => console.log(report(appview)));
      const stop = (): void => {
        appview.close();
        lines.close();
        console.log(report(appview));
      };
      process.once('SIGINT', stop).once('SIGTERM', stop);
    });
}

function outcomeLine(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'stored':
      return `${outcome.knot}/${outcome.rkey}  ${outcome.job}  ${outcome.entry.status}  ${outcome.entry.error ?? ''}`.trimEnd();
    case 'lost':
      return 'lost';
    case 'repeated':
      return 'repeated: this rkey was here before';
    case 'ignored':
      return 'ignored: no status';
  }
}

function report(appview: AppviewSim): string {
  const tables = appview.pipelines().map(([knot, rkey]) => pipelineTable(knot, rkey, appview.view(knot, rkey)));
  const problems = appview.problems.map((problem) => `! ${problem}`);
  const { stored, repeated, lost } = appview.counts;
  return [...tables, `${stored} stored, ${repeated} repeated, ${lost} lost`, ...problems].join('\n');
}
