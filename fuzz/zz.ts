import { pureTargets } from './targets/index.ts';
import { runPart } from './batch.ts';
const only = process.argv[2]; const n = Number(process.argv[3] ?? 2000); const seed = Number(process.argv[4] ?? 1);
for (const target of pureTargets) {
  if (only && only !== 'all' && target.name !== only) continue;
  const s = performance.now();
  const { findings } = await runPart({ target, seed, part: 0, runs: n });
  console.log(target.name, Math.round(n / ((performance.now() - s) / 1000)), 'runs/s', findings.length);
  for (const f of findings) console.log('  ', f.signature, '\n      ', f.what.split('\n').slice(0, 4).join('\n      ').slice(0,1500), '\n   IN', f.input.length, JSON.stringify(f.input.toString()).slice(0, 600));
}
