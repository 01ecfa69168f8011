import type { Invariant } from './finding.ts';

/** What a scan goes through in any case. */
const always = ['table', 'history'];

/** 5: secrets stay where they belong. A scan that saw nothing proves nothing, so its bytes are counted. */
export const secrets: Invariant = {
  number: 5,
  name: 'No secret is in logs, histories, metrics, errors, or in the database in clear.',
  look({ evidence: { sightings, scan, pushes } }) {
    const findings = sightings.map(({ secret, where, around }) => ({
      kind: 'secret',
      text: `${secret} is in ${where}: ${around}`,
    }));
    const kinds = new Map<string, number>();
    for (const [place, bytes] of Object.entries(scan.bytes)) {
      const kind = place.split(' ')[0] ?? '';
      kinds.set(kind, (kinds.get(kind) ?? 0) + bytes);
    }
    const wanted = pushes.length > 0 ? new Set([...always, ...kinds.keys()]) : [];
    for (const kind of wanted) {
      if ((kinds.get(kind) ?? 0) > 0) continue;
      findings.push({ kind: 'unseen', text: `Nothing was looked through for secrets under “${kind}”.` });
    }
    if (pushes.length > 0 && scan.secrets === 0)
      findings.push({ kind: 'unseen', text: 'No secret was looked for at all.' });
    const checked = Object.values(scan.bytes).filter((bytes) => bytes > 0).length;
    return { checked, findings };
  },
};
