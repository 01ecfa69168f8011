/*
 * What programs write for terminals, made safe for anything that shows lines: of all control sequences only SGR
 * (`ESC [ … m`, colours and weight) stays, links and pictures become words, and no control character but TAB is left.
 * A sequence ends at the latest with its text, so half of one is never seen.
 */

/* oxlint-disable no-control-regex -- control characters are what this file is about */

const unclean = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/;

/** Controls but TAB and ESC; each ESC that is left by then begins an SGR code. */
const controls = /[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]/g;

/**
 * CSI (parameters, intermediates, final), strings (OSC, DCS, APC, PM, SOS: how they begin, and what they hold), and any
 * other escape. The C1 controls U+0080… mean `ESC` and a letter, and begin the same sequences.
 */
const sequences =
  /(?:\x1b\[|\x9b)([0-?]*)([ -/]*)([@-~]?)|(?:\x1b([\]_P^X])|([\x90\x98\x9d-\x9f]))([^\x07\x1b\x9c]*)(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?/g;

const sgr = /\x1b\[[\d;:]*m/g;

/** More than any real code has; what is longer only costs room. */
const longestSgr = 64;
const shortSgr = /\x1b\[[\d;:]{0,64}m/g;

/** Text without its SGR codes. */
export const withoutColours = (text: string): string => (text.includes('\x1b') ? text.replaceAll(sgr, '') : text);

/**
 * One line of text for terminals, cleaned. `onApc` is told what each application's own sequence (`ESC _ … ST`) holds,
 * in their order.
 */
export function cleanText(text: string, onApc?: (content: string) => void): string {
  if (!unclean.test(text)) return text;
  // Most lines that have any codes have only those of colours.
  if (!unclean.test(text.replaceAll(shortSgr, ''))) return text;
  let link: { url: string; from: number } | undefined;
  const endLink = (to: number): string => {
    if (!link) return '';
    const { url, from } = link;
    link = undefined;
    const shown = text.slice(from, to);
    return shown.includes(url) ? '' : `${shown === '' ? '' : ' '}(${url})`;
  };
  const plain = text.replaceAll(
    sequences,
    (
      whole: string,
      parameters: string | undefined,
      between: string | undefined,
      final: string | undefined,
      letter: string | undefined,
      c1: string | undefined,
      content: string | undefined,
      offset: number,
    ) => {
      if (final === 'm' && between === '' && parameters !== undefined && /^[\d;:]*$/.test(parameters)) {
        return parameters.length > longestSgr ? '' : `\x1b[${parameters}m`;
      }
      if (content === undefined) return '';
      if (letter === '_' || c1 === '\x9f') onApc?.(content);
      if (letter !== ']' && c1 !== '\x9d') return '';
      const url = /^8;[^;]*;(.*)$/.exec(content)?.[1];
      if (url === undefined) return wordsOf(content);
      const before = endLink(offset);
      if (url !== '') link = { url, from: offset + whole.length };
      return before;
    },
  );
  return (plain + endLink(text.length)).replaceAll(controls, '');
}

/** What an operating system command shows, in words: links and pictures as Buildkite and iTerm2 write them. */
function wordsOf(content: string): string {
  const [, kind, rest = ''] = /^(1337|1338|1339);(.*)$/.exec(content) ?? [];
  if (kind === undefined) return '';
  if (kind === '1337') return rest.startsWith('File=') ? '[image]' : '';
  const fields = fieldsOf(rest);
  const url = fields.get('url') ?? '';
  if (kind === '1338') return `[image${spaced(fields.get('alt') ?? url)}]`;
  const shown = fields.get('content') ?? '';
  if (shown === '' || shown === url) return url;
  return url === '' ? shown : `${shown} (${url})`;
}

const spaced = (text: string): string => (text === '' ? '' : ` ${text}`);

/** `key=value;key='value with ;'`. A name is looked for from its first letter only, or a long word would be read once for each of its letters. */
function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [, key = '', single, double, bare = ''] of text.matchAll(
    /(?<![a-z])([a-z]+)=(?:'([^']*)'|"([^"]*)"|([^;]*))/g,
  )) {
    if (!fields.has(key)) fields.set(key, single ?? double ?? bare);
  }
  return fields;
}
