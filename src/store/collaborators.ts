import type { Sql } from './db.ts';

/**
 * Whom the owner of a repository lets work in it, besides the owner: their DIDs. Only the owner's own records count,
 * and they name the repository by its record or by its own DID.
 * @param repo its name, or the key of its record
 */
export async function collaboratorsOf(
  sql: Sql,
  { did, ...repo }: { did: string } & ({ name: string } | { rkey: string }),
): Promise<string[]> {
  const [name, rkey] = 'name' in repo ? [repo.name, null] : [null, repo.rkey];
  const rows = await sql<{ subject: string }[]>`
    select distinct collaborator.value ->> 'subject' as subject
    from records repo join records collaborator on collaborator.did = repo.did
      and collaborator.collection = 'sh.tangled.repo.collaborator' and collaborator.value is not null
      and collaborator.value ->> 'repo' in ('at://' || repo.did || '/sh.tangled.repo/' || repo.rkey, repo.value ->> 'repoDid')
    where repo.did = ${did} and repo.collection = 'sh.tangled.repo' and repo.value is not null
      and (repo.value ->> 'name' = ${name} or repo.rkey = ${rkey})
      and not exists (select from accounts where accounts.did = repo.did and not active)
    order by 1`;
  return rows.map(({ subject }) => subject);
}
