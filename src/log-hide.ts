/** What stands for something that must not be seen. */
const hidden = '[hidden]';

/** Fields of a line of JSON that never hold anything for people to read. */
const secretField =
  /"(authorization|proxy-authorization|cookie|set-cookie|x-buildkite-token|x-buildkite-signature|api[_-]?key|access[_-]?token|token|password|passwd|secret)":"(?:[^"\\]|\\.)*"/gi;
const bearer = /\b(Bearer|Basic)( +)[\w.~+/=-]{8,}/gi;
/** The password in a URL. */
const inUrl = /([a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@"'\\]{0,200}:)[^\s/@"'\\]{1,500}@/gi;

/** Hides in a line what looks like a secret, whether anybody told us of it or not. */
export const hideSecrets = (line: string): string =>
  line
    .replaceAll(secretField, (_field, name: string) => `"${name}":"${hidden}"`)
    .replaceAll(bearer, (_whole, kind: string, space: string) => `${kind}${space}${hidden}`)
    .replaceAll(inUrl, (_whole, before: string) => `${before}${hidden}@`);

type Mask = (text: string) => string;

/** The same mask for a second: what secrets there are may stand in files, and lines come by the hundred. */
export function steadyMask(ask: () => Mask, keepMs = 1_000): Mask {
  let mask: Mask | undefined;
  let until = 0;
  return (text) => {
    const now = performance.now();
    if (!mask || now >= until) {
      mask = ask();
      until = now + keepMs;
    }
    return mask(text);
  };
}
