/** A repository as an event names it, or a person who asks. */
export interface AskedRepo {
  /** the knot that the event came from */
  knot: string;
  /** its owner, who publishes its record */
  did: string;
  /** its name; newer knots put the key of its record here, or nothing at all */
  name: string;
  /** its own DID, from newer knots */
  repoDid?: string | undefined;
}

/** What is known of a repository when the question is asked. Times are ms since 1970. */
export interface Facts {
  /** this spindle; null before the first start */
  host: string | null;
  /** since when what happens in it counts, because an operator said so */
  pinned: number | null;
  publisher: 'owner' | 'member' | null;
  /** what keeps the publisher's account from being active, such as `deactivated` */
  inactive: string | null;
  /** its publisher's records that may be of this repository */
  records: readonly RepoFact[];
  /** names of other repositories of the same account and knot that name this spindle, for the explanation */
  others?: readonly string[] | undefined;
}

export interface RepoFact {
  rkey: string;
  name: string;
  knot: string;
  spindle: string | null;
  repoDid: string | null;
  /** since when it would be served: the latest of its choice, its publisher's membership, and our first start */
  since: number;
}

/** Whether a repository may run here. Not knowing is a no that may turn into a yes: a record may be late. */
export type Verdict =
  | {
      served: true;
      /** what happened before does not count; ms since 1970 */
      since: number;
      because: string;
    }
  | {
      served: false;
      /** for whoever pushed */
      reason: string;
      /** for whoever wants it to run */
      advice: string;
      /** the publisher's own server may know more, and may be asked */
      mayAsk: boolean;
    };

/** What happened a little before the choice still counts: clocks differ, and people push and choose in one go. */
export const beforeChoiceMs = 10 * 60_000;

/**
 * The rule: a repository that is pinned; or one whose record names this spindle now, on the knot that the event came
 * from, and whose publisher is the owner or a member, with an active account.
 */
export function judge(asked: AskedRepo, facts: Facts): Verdict {
  const known = recordsOf(asked, facts.records);
  const good = known.filter((record) => stepsOf(asked, record, facts) === allSteps);
  const choices = [...good.map(({ since }) => since), ...(facts.pinned === null ? [] : [facts.pinned])];
  if (choices.length > 0) {
    const pin = facts.pinned === null ? [] : ['It is pinned by hand.'];
    const record = good[0]
      ? [`Its record ${good[0].rkey} names this spindle, and its publisher is ${roleOf[facts.publisher ?? 'member']}.`]
      : [];
    return { served: true, since: Math.min(...choices), because: [...pin, ...record].join(' ') };
  }
  // the one that lacks least
  const best = known.toSorted((a, b) => stepsOf(asked, b, facts) - stepsOf(asked, a, facts))[0];
  const no = best ? lacking(asked, best, facts) : unknown(asked, facts);
  return { served: false, ...no, mayAsk: facts.publisher !== null };
}

const roleOf = { owner: 'the owner', member: 'a member' };

/**
 * The records that are of the repository: by its own DID, which no two share; else by its name; else by the key of its
 * record, which is what newer knots call the name.
 */
export function recordsOf<T extends Pick<RepoFact, 'name' | 'rkey' | 'repoDid'>>(
  { name, repoDid }: Pick<AskedRepo, 'name' | 'repoDid'>,
  records: readonly T[],
): T[] {
  if (repoDid !== undefined) {
    const same = records.filter((record) => record.repoDid === repoDid);
    if (same.length > 0) return same;
  }
  if (name === '') return [];
  const possible = records.filter((record) => repoDid === undefined || record.repoDid === null);
  const named = possible.filter((record) => record.name === name);
  return named.length > 0 ? named : possible.filter((record) => record.rkey === name);
}

const allSteps = 4;

/** How many of the conditions hold, in their order. */
function stepsOf({ knot }: AskedRepo, record: RepoFact, { host, publisher, inactive }: Facts): number {
  if (host === null || record.spindle !== host) return 0;
  if (record.knot !== knot.toLowerCase()) return 1;
  if (publisher === null) return 2;
  return inactive === null ? allSteps : 3;
}

type No = { reason: string; advice: string };

function lacking(asked: AskedRepo, record: RepoFact, facts: Facts): No {
  const { did, knot } = asked;
  const called = record.name === asked.name || asked.name === '' ? '' : ` (it is called ${record.name} now)`;
  const what = `The record of ${repoName(asked)}${called}`;
  const host = facts.host ?? 'this one';
  if (record.spindle === null)
    return {
      reason: `${what} names no spindle.`,
      advice: `Choose ${host} as its spindle, in its settings at Tangled.`,
    };
  if (record.spindle !== facts.host)
    return {
      reason: `${what} names the spindle ${record.spindle}, and not ${host}.`,
      advice: `Choose ${host} as its spindle, in its settings at Tangled.`,
    };
  if (record.knot !== knot.toLowerCase())
    return {
      reason: `${what} says that it is on the knot ${record.knot}, and not on ${knot}.`,
      advice: `Ask about ${record.knot}. What still comes from ${knot} does not count.`,
    };
  if (facts.publisher === null)
    return {
      reason: `${what} names this spindle, but ${did} is not a member of it.`,
      advice:
        'The owner of the spindle must make them a member, at Tangled; or an operator pins it: `whorl repos pin`.',
    };
  return {
    reason: `The account of ${did} is ${facts.inactive}, so its records do not count.`,
    advice: 'They count again as soon as the account is active.',
  };
}

function unknown(asked: AskedRepo, { host, publisher, inactive, records, others = [] }: Facts): No {
  const { did, knot, name, repoDid } = asked;
  const what = `The repository ${repoName(asked)} on ${knot} is not known to this spindle`;
  if (host === null)
    return {
      reason: `${what}: it reads no records yet.`,
      advice: 'Start its ingest role, or pin the repository: `whorl repos pin`.',
    };
  const namesake = records.find((record) => record.name === name || record.rkey === name);
  if (namesake)
    return {
      reason: `${what}: the record of that name is of the repository ${namesake.repoDid}, and not of ${repoDid}.`,
      advice: 'It was made anew under an old name; it counts as soon as its record says so.',
    };
  if (publisher === null)
    return {
      reason: `${what}: there is no record of it, and ${did} is not a member.`,
      advice: `The owner of the spindle must make ${did} a member, and they must choose ${host} in the settings of the repository, both at Tangled; or an operator pins it: \`whorl repos pin\`.`,
    };
  if (inactive !== null)
    return {
      reason: `${what}: the account of ${did} is ${inactive}.`,
      advice: 'Its records are read again as soon as the account is active.',
    };
  const rest = others.length > 0 ? `; on that knot there are ${others.join(', ')}` : '';
  return {
    reason: `${what}: ${did} has no record of it${rest}.`,
    advice:
      others.length > 0
        ? `If it was renamed, its new name counts. Else choose ${host} in its settings at Tangled.`
        : `Choose ${host} as its spindle, in its settings at Tangled.`,
  };
}

/** `did/name`, or what else an event calls it by. */
export const repoName = ({ did, name, repoDid }: Omit<AskedRepo, 'knot'>): string =>
  `${did}/${name || (repoDid ?? '')}`;
