/** What stands in place of a secret. */
const hidden = '***';

/** Shorter values would hide ordinary words. */
const shortest = 4;
/** The same for what a value looks like inside of longer base64. */
const shortestInner = 8;

/**
 * Hides secrets in text. `cut`: the text is the beginning of a longer one, so that what may be half of a secret at its
 * end is hidden too.
 */
export type Mask = (text: string, cut?: boolean) => string;

/**
 * Makes masks. Each is of what `secrets` gives then, and of all that it gave before: what was secret once stays so for as
 * long as the process lives. Hidden are the values as they are, percent-encoded, escaped for JSON, and in base64 (padded,
 * unpadded, url-safe, inside of longer base64); of a value of several lines each line.
 */
export function secretMask(secrets: () => readonly string[]): () => Mask {
  const known = new Set<string>();
  let mask: Mask = (text) => text;
  return () => {
    const before = known.size;
    for (const secret of secrets()) known.add(secret);
    if (known.size > before) mask = maskOf([...new Set([...known].flatMap(formsOf))]);
    return mask;
  };
}

function maskOf(unordered: readonly string[]): Mask {
  const forms = unordered.toSorted((a, b) => b.length - a.length);
  if (forms.length === 0) return (text) => text;
  const any = new RegExp(forms.map(escaped).join('|'));
  return (text, cut = false) => {
    const plain = text.includes('\x1b') ? text.replaceAll(sgr, '') : text;
    return cut || any.test(plain) ? hide(text, plain, spansOf(plain, forms, cut)) : text;
  };
}

// oxlint-disable-next-line no-control-regex -- codes of colours
const sgr = /\x1b\[[0-9;:]*m/g;

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);

type Span = [from: number, to: number];

/** Where any of the forms stands, also where they overlap, joined and in order. */
function spansOf(plain: string, forms: readonly string[], cut: boolean): Span[] {
  const found: Span[] = [];
  for (const form of forms) {
    for (let at = plain.indexOf(form); at >= 0; at = plain.indexOf(form, at + 1)) found.push([at, at + form.length]);
    if (!cut) continue;
    for (let size = Math.min(form.length - 1, plain.length); size > 0; size -= 1) {
      if (!plain.endsWith(form.slice(0, size))) continue;
      found.push([plain.length - size, plain.length]);
      break;
    }
  }
  found.sort((a, b) => a[0] - b[0]);
  const joined: Span[] = [];
  for (const [from, to] of found) {
    const last = joined.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else joined.push([from, to]);
  }
  return joined;
}

/** Puts `***` in place of each span of the plain text; codes of colours inside of one stay, behind it. */
function hide(text: string, plain: string, spans: readonly Span[]): string {
  if (spans.length === 0) return text;
  if (plain === text) {
    let end = 0;
    const kept = spans.map(([from, to]) => {
      const before = text.slice(end, from);
      end = to;
      return before + hidden;
    });
    return kept.join('') + text.slice(end);
  }
  let shown = '';
  let next = 0;
  /** Copies plain text up to a place, hiding what lies in a span. */
  let at = 0;
  const copy = (piece: string): void => {
    const end = at + piece.length;
    let from = at;
    while (from < end) {
      const span = spans[next];
      if (!span || span[0] >= end) {
        shown += piece.slice(from - at);
        break;
      }
      if (span[0] >= from) shown += piece.slice(from - at, span[0] - at) + hidden;
      from = Math.min(span[1], end);
      if (span[1] > end) break;
      next += 1;
    }
    at = end;
  };
  let last = 0;
  for (const code of text.matchAll(sgr)) {
    copy(text.slice(last, code.index));
    shown += code[0];
    last = code.index + code[0].length;
  }
  copy(text.slice(last));
  return shown;
}

/** All that a value may look like in a log. */
function formsOf(secret: string): string[] {
  const values = [...new Set([secret, ...secret.split(/\r?\n/)].map((value) => value.trim()))];
  return values.filter((value) => value.length >= shortest).flatMap(shapesOf);
}

function shapesOf(value: string): string[] {
  const inner = [0, 1, 2].map((before) => innerBase64(value, before)).filter(({ length }) => length >= shortestInner);
  const whole = Buffer.from(value).toString('base64');
  const base64 = [whole, whole.replace(/=+$/, ''), ...inner];
  const urlSafe = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  return [value, encodeURIComponent(value.toWellFormed()), JSON.stringify(value).slice(1, -1), ...base64, ...urlSafe];
}

/** The part of base64 that is the same whatever stands before (so many bytes over a multiple of three) and after. */
function innerBase64(value: string, before: number): string {
  const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(value)]);
  const first = [0, 2, 3][before] ?? 0;
  const last = Math.floor((bytes.length * 8) / 6);
  return bytes.toString('base64').slice(first, last);
}
