/** A log as bytes, and the lines that are in it. */
export interface AgentLog {
  bytes: Buffer;
  lines: { text: string; at: number | null; group?: 'user' | 'system' }[];
}

const start = 1_745_322_209_921;

/**
 * A log with the traits of a real one of an agent under a pseudo-terminal: a time before each line and again while one is
 * written over, CR LF and CR CR LF, groups of all kinds, colours, links, pictures, progress, text that is not UTF-8.
 */
export function agentLog(rounds = 12): AgentLog {
  const raw: Buffer[] = [];
  const lines: AgentLog['lines'] = [];
  let at = start;
  const write = (data: string | Buffer): void => void raw.push(Buffer.from(data));
  const line = (data: string | Buffer, shown: string | null, group?: 'user' | 'system', end = '\r\r\n'): void => {
    at += 7;
    write(`\x1b_bk;t=${at}\x07`);
    write(data);
    write(end);
    if (shown !== null) lines.push({ text: shown, at, ...(group ? { group } : {}) });
  };

  line('~~~ Running global environment hook', 'Running global environment hook', 'system', '\r\n');
  line('\x1b[90m$\x1b[0m /etc/hooks/environment', '\x1b[90m$\x1b[0m /etc/hooks/environment', undefined, '\r\n');
  for (let round = 0; round < rounds; round += 1) {
    line(`--- :package: Round ${round}`, `:package: Round ${round}`, 'user', '\r\n');
    line(`wörld ${round} 纺锤 🧵`, `wörld ${round} 纺锤 🧵`);
    line('', '');
    line('\tindented with a tab', '\tindented with a tab');
    line(
      '\x1b[38;2;10;20;30m24 bits\x1b[0m and \x1b[1;38;5;9m256\x1b[m',
      '\x1b[38;2;10;20;30m24 bits\x1b[0m and \x1b[1;38;5;9m256\x1b[m',
    );
    const began = at + 7;
    line(`10%\r\x1b[K\x1b_bk;t=${began + 1000}\x0755%\r\x1b[K\x1b_bk;t=${began + 2000}\x07100%, done`, '100%, done');
    at += 2000;
    line(
      '\x1b]1339;url=https://ci.example/7;content=the report\x07 is there',
      'the report (https://ci.example/7) is there',
    );
    line('\x1b]8;;https://a.example\x1b\\a page\x1b]8;;\x1b\\', 'a page (https://a.example)');
    line('\x1b]1338;url=artifact://shot.png;alt=a shot\x07', '[image a shot]');
    line(Buffer.from([0x61, 0xff, 0x62, 0xc3]), 'a\ufffdb\ufffd');
    line('bell\x07 and null\0, \x1b[2Jcleared \x1b]0;a title\x07and \x1b(Bplain', 'bell and null, cleared and plain');
    line('half a code at the end \x1b[3', 'half a code at the end ');
    line('half a title at the end \x1b]0;secret', 'half a title at the end ');
    line('^^^ +++', null, undefined, '\r\n');
    line('+++ Open', 'Open', 'user', '\n');
    write('no time of its own\n');
    lines.push({ text: 'no time of its own', at });
    write('\x1b_bk;dt=5\x1b\\a time by difference\r\n');
    at += 5;
    lines.push({ text: 'a time by difference', at });
  }
  at += 7;
  write(`\x1b_bk;t=${at}\x07the last line has no end`);
  lines.push({ text: 'the last line has no end', at });
  return { bytes: Buffer.concat(raw), lines };
}
