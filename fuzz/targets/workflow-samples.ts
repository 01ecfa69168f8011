const buildkite = `engine: tack
when:
  - event: ["push"]
    branch: ["main", "release/**"]
  - event: ["pull_request", "manual"]
    branch: ["main"]
tack:
  buildkite:
    pipeline: whorl-demo
    org: acme
    branch: main
    message: "a message"
    env:
      RUST_BACKTRACE: "1"
      COUNT: 3
      FLAG: true
    meta_data: { release: "no" }
    clean_checkout: true
    on_block: success
`;

const fake = `tack:
  fake:
    result: [failed, success]
    delay: 1.5s
    exit_code: 2
    error: it broke
    logs: ["one", 2, true]
`;

const script = `tack:
  fake:
    states: [{ state: running, after: 200ms }, { state: timed_out, after: 1m }]
    fail_create: Transient
`;

const shared = `%YAML 1.2
---
base: &base
  pipeline: app
  env: &env { A: "1", <<: { B: "2" } }
tack:
  buildkite:
    <<: *base
    env: *env
    message: >-
      folded
      text
    commit: |
      literal
`;

const typed = `tack: !!map
  ? buildkite
  : pipeline: !!str 12
    env: { "tab\\there": "nul\\0 \\ud83e", "": x }
    meta_data: !!binary aGVsbG8=
...
---
tack: { fake: ~ }
`;

export const yamlFiles: readonly string[] = [
  buildkite,
  fake,
  script,
  shared,
  typed,
  'tack: {fake: {}}\n',
  'tack:\n  buildkite:\n',
];

export const yamlWords: readonly string[] = [
  'tack:',
  'fake:',
  'buildkite:',
  'pipeline: ',
  'env: ',
  'result: ',
  'states: ',
  'delay: ',
  '- ',
  '? ',
  ': ',
  '{',
  '}',
  '[',
  ']',
  ',',
  '|',
  '>',
  '|2-\n',
  '&a ',
  '*a',
  '*a,',
  '<<: *a\n',
  '<<: ',
  '!!set ',
  '!!omap ',
  '!!binary ',
  '!!js/function ',
  '!<tag:yaml.org,2002:str> ',
  '! ',
  '#',
  '---\n',
  '...\n',
  '%YAML 1.1\n---\n',
  '%TAG ! x\n',
  '\t',
  '\n',
  '\n  ',
  '"',
  "'",
  '\\x',
  '\\u',
  '"\\0"',
  '"\\ud83e"',
  '~',
  'null',
  'y',
  '.inf',
  '.nan',
  '0x1f',
  '0o7',
  '1e999',
  '-0',
  '1_000',
  '2026-11-20',
  '1:30',
  '__proto__: ',
  'constructor: ',
  'toString: ',
  '"": ',
  '\ufeff',
  '\u2028',
  '\x85',
  '\0',
  '<<',
  '=',
  '@',
  '`',
];

const head = 'tack: { fake: {} }\n';
const lines = (count: number, of: (n: number) => string): string =>
  Array.from({ length: count }, (_, n) => of(n)).join('');
const bomb = lines(
  9,
  (n) => `b${n}: &b${n} [${Array.from({ length: 9 }, () => (n === 0 ? 'x' : `*b${n - 1}`)).join(', ')}]\n`,
);

/** Small files that would become large, or deep, or slow. */
export const yamlBombs: readonly string[] = [
  `${bomb}tack: { fake: { logs: *b8 } }\n`,
  `tack: { fake: { logs: [&a x, ${'*a, '.repeat(300)}] } }\n`,
  `tack: &t { fake: *t }\n`,
  `${head}deep: ${'['.repeat(3_000)}${']'.repeat(3_000)}\n`,
  `${head}deep: ${'{a: '.repeat(2_000)}${'}'.repeat(2_000)}\n`,
  `${head}deep:\n  ${'- '.repeat(3_000)}x\n`,
  `${head}${lines(200, (n) => `${' '.repeat(n)}k:\n`)}`,
  `${head}text: "${'a '.repeat(60_000)}"\n`,
  `${head}text: ${'1'.repeat(100_000)}\n`,
  `${head}list: [${'1,'.repeat(5_000)}]\n`,
  `${head}x:\n  ${'? '.repeat(600)}`,
  `${head}${'# \n'.repeat(20_000)}`,
  `${head}${'---\n'.repeat(3_000)}`,
  `${head}${lines(40_000, (n) => `${n.toString(36)}:\n`)}`,
  `${head}keys: { ${lines(50_000, (n) => `${n.toString(36)},`)} }\n`,
  `${head}text: "${'\\x'.repeat(100_000)}"\n`,
  `${head}list: [${'*nothing,'.repeat(25_000)}]\n`,
  `${head}list: [${'&a ,'.repeat(40_000)}]\n`,
  `${head}list: [&a 1,${'*a,'.repeat(60_000)}]\n`,
  `%YAML 1.1\n---\n${head}base: &b { x: 1 }\nall: { ${'<<: *b, '.repeat(20_000)} }\n`,
  `${head}${': '.repeat(60_000)}`,
  `${head}${'? '.repeat(60_000)}`,
  `${head}text: ${'!'.repeat(100_000)}\n`,
  `${head}text: "${'\n '.repeat(80_000)}"\n`,
  `${'&a '.repeat(1_000)}${head}`,
  `%TAG ! ${'a'.repeat(100_000)}\n---\n${head}`,
  `${'%YAML 1.2\n'.repeat(20_000)}---\n${head}`,
  `tack: { fake: { logs: [${'"line",'.repeat(3_000)}] } }\n`,
  `tack: { buildkite: { pipeline: app, env: { ${lines(300, (n) => `K${n}: v, `)} } } }\n`,
];
