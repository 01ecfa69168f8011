import { startBuildkite } from '../../sim/buildkite/index.ts';
import { buildkite } from '../../src/providers/buildkite/client.ts';
import { planBuildkite } from '../../src/providers/buildkite/plan.ts';
import { fakeProvider } from '../../src/providers/fake/fake.ts';
import { planFake } from '../../src/providers/fake/plan.ts';
import { conformance, freeLimiter } from '../conformance/provider.ts';

conformance('fake', async () => {
  let ahead = 0;
  const now = (): number => Date.now() + ahead;
  return {
    provider: fakeProvider({ now }),
    plan: planFake,
    options: (end) => ({ result: end, delay: '10m', logs: ['made it', 'built it', 'wörked'] }),
    nonsense: [
      ['passed', 'tack.fake must be a map'],
      [[], 'tack.fake must be a map'],
      [{ logs: ['a\0b'] }, 'logs'],
      [{ logs: [{}] }, 'logs'],
      [{ states: [{ state: 'running', after: 'never' }] }, 'states'],
      [{ result: 'splendid' }, 'result'],
      [{ delay: 'soon' }, 'delay'],
      [{ states: [{ state: 'asleep' }] }, 'states'],
      [{ states: [] }, 'states'],
      [{ exit_code: 'one' }, 'exit_code'],
      [{ logs: 'line' }, 'logs'],
      [{ fail_create: 'Whatever' }, 'fail_create'],
    ],
    lines: ['made it', 'built it', 'wörked'],
    start: () => {
      ahead += 10 * 60_000;
    },
    finish: () => {
      ahead += 10 * 60_000;
    },
    settle: () => {},
    now,
    close: async () => {},
  };
});

conformance('buildkite', async () => {
  const sim = await startBuildkite({ pipelines: ['acme/app'] });
  return {
    provider: buildkite({ apiUrl: sim.apiUrl, token: () => sim.token, limiter: freeLimiter }),
    plan: planBuildkite({ org: 'acme' }),
    options: () => ({ pipeline: 'app' }),
    nonsense: [
      [undefined, 'tack.buildkite'],
      ['app', 'tack.buildkite'],
      [{}, 'tack.buildkite.pipeline is missing'],
      [{ pipeline: '' }, 'tack.buildkite.pipeline is empty'],
      [{ pipeline: 7 }, 'tack.buildkite.pipeline must be a text'],
      [{ pipeline: '../../user' }, 'tack.buildkite.pipeline is not a slug'],
      [{ pipeline: 'app', org: 'a/b' }, 'tack.buildkite.org'],
      [{ pipeline: 'app', branch: 1.1 }, 'tack.buildkite.branch must be a text'],
      [{ pipeline: 'app', env: ['A=1'] }, 'tack.buildkite.env must be a map'],
      [{ pipeline: 'app', env: { A: { b: 1 } } }, 'tack.buildkite.env.A'],
      [{ pipeline: 'app', meta_data: { 'tack:knot': 'x' } }, 'tack:knot'],
      [{ pipeline: 'app', metadata: { whorl_nonce: 'x' } }, 'whorl_nonce'],
      [{ pipeline: 'app', clean_checkout: 'yes' }, 'clean_checkout'],
      [{ pipeline: 'app', on_block: 'explode' }, 'on_block'],
      [{ pipeline: 'app', message: 'a\0b' }, 'message'],
    ],
    missing: { pipeline: 'nowhere' },
    lines: ['built it', 'wörked, without a line end'],
    start: ({ ref }) => {
      sim.advance(ref.id, 'running');
      sim.appendLog(ref.id, 'build', 'built it\r\n');
    },
    finish: ({ ref }, end) => {
      sim.appendLog(ref.id, 'build', 'wörked, without a line end');
      sim.finish(ref.id, end === 'success' ? 'passed' : 'failed');
    },
    settle: ({ id }) => {
      if (sim.build(id).state === 'canceling') sim.advance(id, 'canceled');
    },
    close: () => sim.close(),
  };
});
