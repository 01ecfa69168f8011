/** What names, messages and errors may hold to act where they are shown. No NUL, which PostgreSQL refuses. */
export const hostile = {
  newLine: 'a\r\nSet-Cookie: x=y\r\n\r\n{"level":60,"msg":"forged"}\n',
  clear: '\u001b[2J\u001b[31mred',
  title: '\u001b]0;owned\u0007',
  link: '\u001b]8;;https://evil.example/\u0007click\u001b]8;;\u0007',
  clipboard: '\u001b]52;c;cm0gLXJmIH4=\u0007',
  c1: '\u009b2J\u009d0;owned\u009c\u0085next',
  turned: '\u202egnp.exe\u2066\u200f\u061c',
  unseen: 'ci\u200b\u00ad\u2060\ufeff.yml\u{e0041}',
  breaks: 'one\u2028two\u2029three\u000bfour\u000cfive',
  html: '<img src=x onerror=alert(1)><script>alert(1)</script><!-- -->&lt;b&gt;',
  markdown:
    '[click](https://evil.example) ![x](https://evil.example/p.png) **b** `c` | d |~~e~~ <https://evil.example>',
  bare: 'https://evil.example www.evil.example mallory@evil.example',
  quotes: `"'\`\\"; drop table statuses; -- \${x} %s %00 {{x}}`,
  start: '# heading',
  paths: '../../etc/passwd',
} as const;

export const allHostile = Object.values(hostile).join(' ');

/** What no terminal should get: controls of both sets, all line ends, and what is not seen but for the two joiners. */
export const acting = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
