import type { Command } from 'commander';
import { type Completable, completables, type CompletableOption } from './completion-tree.ts';

export const shells = ['bash', 'zsh', 'fish'] as const;

/** The script that makes a shell complete the command lines of this program. It holds all it needs. */
export function completionScript(shell: (typeof shells)[number], program: Command): string {
  const all = completables(program);
  return { bash, zsh, fish }[shell](program.name(), all);
}

/** A word or sentence that none of the shells takes apart. */
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

const list = (words: readonly string[]): string => words.join(' ');

/** Lines of a `case`, those without a body left out. */
const cases = (subject: string, branches: readonly (readonly [pattern: string, body: string])[]): string[] => [
  `case "${subject}" in`,
  ...branches.filter(([, body]) => body !== '').map(([pattern, body]) => `  ${pattern}) ${body} ;;`),
  'esac',
];

const indented = (lines: readonly string[], by = 2): string[] => lines.map((line) => ' '.repeat(by) + line);

/** Which command the words so far lead to, in what bash and zsh have in common. */
function findCommand(all: readonly Completable[]): string[] {
  const deeper = all.filter(({ path }) => path !== '').map(({ path }) => [quoted(path), `at=${quoted(path)}`] as const);
  const taking = all.flatMap(({ path, options }) =>
    options.filter(({ takes }) => takes).flatMap(({ flags }) => flags.map((flag) => quoted(`${path}:${flag}`))),
  );
  return [
    'if [[ -n $skip ]]; then skip=; continue; fi',
    ...cases('$at:$word', [[taking.join('|'), 'skip=1; continue']]),
    ...cases('${at:+$at }$word', deeper),
  ];
}

/** What may follow an option that takes a word. */
const values = (all: readonly Completable[], offer: (option: CompletableOption) => string) =>
  all.flatMap(({ path, options }) =>
    options
      .filter(({ takes }) => takes)
      .map((option) => [option.flags.map((flag) => quoted(`${path}:${flag}`)).join('|'), offer(option)] as const),
  );

function bash(name: string, all: readonly Completable[]): string {
  const reply = (words: readonly string[]): string =>
    words.length > 0 ? `COMPREPLY=($(compgen -W ${quoted(list(words))} -- "$cur"))` : '';
  const flags = ({ options }: Completable): string[] => options.flatMap((option) => option.flags);
  const words = ({ commands, choices }: Completable): string[] => [...commands.map((each) => each.name), ...choices];
  return [
    `# bash completion of ${name}. Made by \`${name} completion bash\`.`,
    `_${name}() {`,
    ...indented([
      'local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at= skip= word i',
      'COMPREPLY=()',
      'for ((i = 1; i < COMP_CWORD; i++)); do',
      '  word=${COMP_WORDS[i]}',
      ...indented(findCommand(all)),
      'done',
      'if [[ -n $skip ]]; then',
      ...indented(
        cases(
          '$at:$prev',
          values(all, ({ choices }) => reply(choices)),
        ),
      ),
      '  return',
      'fi',
      'if [[ $cur == -* ]]; then',
      ...indented(
        cases(
          '$at',
          all.map((each) => [quoted(each.path), reply(flags(each))] as const),
        ),
      ),
      'else',
      ...indented(
        cases(
          '$at',
          all.map(
            (each) =>
              [quoted(each.path), each.files ? 'COMPREPLY=($(compgen -f -- "$cur"))' : reply(words(each))] as const,
          ),
        ),
      ),
      'fi',
    ]),
    '}',
    `complete -F _${name} ${name}`,
  ].join('\n');
}

function zsh(name: string, all: readonly Completable[]): string {
  const item = (word: string, about: string): string => quoted(`${word.replaceAll(':', String.raw`\:`)}:${about}`);
  const describe = (items: readonly string[], flag = ''): string =>
    items.length > 0 ? `found=(${list(items)}); _describe ${flag}${name} found` : '';
  const flags = ({ options }: Completable): string[] =>
    options.flatMap((option) => option.flags.map((each) => item(each, option.description)));
  const words = ({ commands, choices }: Completable): string[] => [
    ...commands.map((each) => item(each.name, each.description)),
    ...choices.map(quoted),
  ];
  return [
    `#compdef ${name}`,
    `# zsh completion of ${name}. Made by \`${name} completion zsh\`.`,
    `compdef _${name} ${name}`,
    `_${name}() {`,
    ...indented([
      'local cur=${words[CURRENT]} prev=${words[CURRENT-1]} at= skip= word i',
      'local -a found',
      'for ((i = 2; i < CURRENT; i++)); do',
      '  word=${words[i]}',
      ...indented(findCommand(all)),
      'done',
      'if [[ -n $skip ]]; then',
      ...indented(
        cases(
          '$at:$prev',
          values(all, ({ choices }) => describe(choices.map(quoted))),
        ),
      ),
      '  return',
      'fi',
      'if [[ $cur == -* ]]; then',
      ...indented(
        cases(
          '$at',
          all.map((each) => [quoted(each.path), describe(flags(each), '-o ')] as const),
        ),
      ),
      'else',
      ...indented(
        cases(
          '$at',
          all.map((each) => [quoted(each.path), each.files ? '_files' : describe(words(each))] as const),
        ),
      ),
      'fi',
    ]),
    '}',
    `if [ "$funcstack[1]" = "_${name}" ]; then _${name} "$@"; fi`,
  ].join('\n');
}

function fish(name: string, all: readonly Completable[]): string {
  const lines = all.flatMap(({ path, commands, choices, options, files }) => {
    const when = `complete -c ${name} -n ${quoted(`__${name}_at "${path}"`)}`;
    return [
      ...commands.map((each) => `${when} -a ${each.name} -d ${quoted(each.description)}`),
      ...(choices.length > 0 ? [`${when} -a ${quoted(list(choices))}`] : []),
      ...(files ? [`${when} -F`] : []),
      ...options.map(({ flags, description, takes, choices: values }) => {
        const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
        const argument = takes ? ` -x${values.length > 0 ? ` -a ${quoted(list(values))}` : ''}` : '';
        return `${when} ${list(names)}${argument} -d ${quoted(description)}`;
      }),
    ];
  });
  const paths = all.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  return [
    `# fish completion of ${name}. Made by \`${name} completion fish\`.`,
    `function __${name}_at`,
    '  set -l at ""',
    '  for word in (commandline -opc)[2..]',
    '    set -l next (string trim -- "$at $word")',
    `    if contains -- "$next" ${list(paths)}`,
    '      set at $next',
    '    end',
    '  end',
    '  test "$at" = "$argv[1]"',
    'end',
    `complete -c ${name} -f`,
    ...lines,
  ].join('\n');
}
