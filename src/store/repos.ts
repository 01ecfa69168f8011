import type { Sql } from './db.ts';

export type RepoKey = { knot: string; did: string; name: string };

export type Repo = RepoKey & {
  /** by hand, or by a record in the publisher's repository; a repo may have both */
  source: 'pin' | 'record';
  /** nothing that happened more than 10 minutes before counts */
  chosenAt: Date;
};

/** A repo that is served, with all that an event may call it by. */
export type ServedRepo = { did: string; name: string; rkey: string | null; repoDid: string | null; chosenAt: Date };

export type WantedKnot = {
  knot: string;
  since: Date;
  /** an operator named it, by a pin of one of its repos */
  pinned: boolean;
  repos: ServedRepo[];
};

/**
 * Chooses a repo by hand. Its triggers that were held as unknown are due at once. Pinned again, it keeps the earlier
 * of both times.
 * @param since default: now; earlier: what happened since then is read (again) and counts
 */
export async function pinRepo(sql: Sql, repo: RepoKey & { since?: Date | undefined }): Promise<void> {
  const { knot, did, name, since } = repo;
  await sql`
    with pinned as (
      insert into repos (knot, did, name, source, chosen_at)
      values (${knot}, ${did}, ${name}, 'pin', least(now(), ${since ?? null}::timestamptz))
      on conflict (knot, did, name, source) do update set chosen_at = least(repos.chosen_at, excluded.chosen_at)
    ),
    due as (
      update triggers set due_at = clock_timestamp()
      where state = 'held' and knot = ${knot}
        and body -> 'triggerMetadata' -> 'repo' ->> 'did' = ${did}
        and body -> 'triggerMetadata' -> 'repo' ->> 'repo' = ${name}
      returning share
    ),
    told as (select pg_notify('inbox', share || ' triggers') from (select distinct share from due) s)
    select pg_notify('repos', ${knot}), (select count(*) from told)`;
}

/** Takes the pin away; a record of the same repo still counts. False when there was no pin. */
export async function unpinRepo(sql: Sql, { knot, did, name }: RepoKey): Promise<boolean> {
  const rows = await sql`
    with gone as (
      delete from repos where knot = ${knot} and did = ${did} and name = ${name} and source = 'pin' returning 1
    )
    select pg_notify('repos', ${knot}) from gone`;
  return rows.length > 0;
}

/** Every repo that is served now, and by what. */
export async function listRepos(sql: Sql): Promise<Repo[]> {
  return await sql<Repo[]>`
    select knot, did, name, source, since as "chosenAt" from served order by knot, did, name, source, since`;
}

/** Since when a repo of this name is served, by whatever source; undefined when it is not. */
export async function chosenSince(sql: Sql, { knot, did, name }: RepoKey): Promise<Date | undefined> {
  const [row] = await sql<{ since: Date | null }[]>`
    select min(since) as since from served where knot = ${knot} and did = ${did} and name = ${name}`;
  return row?.since ?? undefined;
}

export async function isChosen(sql: Sql, repo: RepoKey): Promise<boolean> {
  return (await chosenSince(sql, repo)) !== undefined;
}

/** The knots that served repos live on; `since` is the earliest choice there. */
export async function wantedKnots(sql: Sql): Promise<WantedKnot[]> {
  const rows = await sql<(ServedRepo & { knot: string; pinned: boolean })[]>`
    select knot, did, name, rkey, repo_did as "repoDid", since as "chosenAt", source = 'pin' as pinned
    from served order by knot, since, did, name`;
  const knots = new Map<string, WantedKnot>();
  for (const { knot, pinned, ...repo } of rows) {
    const wanted = knots.get(knot) ?? { knot, since: repo.chosenAt, pinned: false, repos: [] };
    wanted.repos.push(repo);
    wanted.pinned ||= pinned;
    knots.set(knot, wanted);
  }
  return [...knots.values()];
}
