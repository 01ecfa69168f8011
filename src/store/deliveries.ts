import { shareOf, shareOfPipeline } from '../pipeline/share.ts';
import type { Delivery } from '../providers/provider.ts';
import { isRefusal, type Sql } from './db.ts';
import { jsonText, plainText } from './json.ts';
import { quarantine } from './quarantine.ts';

/**
 * `stored`: it waits for dispatch now. `known`: it was stored before. `foreign`: its build is none of ours, and nothing
 * was stored. `quarantined`: PostgreSQL refuses it, and would again.
 */
export type Acceptance = 'stored' | 'known' | 'foreign' | 'quarantined';

/**
 * Stores a verified webhook, once, and wakes dispatch. One that has no full address is stored only if its build, or the
 * build that it was made from, is in our books.
 */
export async function acceptDelivery(sql: Sql, provider: string, delivery: Delivery): Promise<Acceptance> {
  try {
    return await insertDelivery(sql, provider, delivery);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    // The picked fields, not the body: bodies hold environment and secrets.
    const reason = error instanceof Error ? error.message : String(error);
    await quarantine(sql, { source: `webhook/${provider}`, bytes: Buffer.from(JSON.stringify(delivery)), reason });
    return 'quarantined';
  }
}

async function insertDelivery(sql: Sql, provider: string, delivery: Delivery): Promise<Acceptance> {
  const { key, event, build, rebuiltFrom, address, ref, seen } = delivery;
  const share = address ? shareOfPipeline(address.knot, address.rkey) : shareOf(build);
  const builds = [build, ...(rebuiltFrom === undefined ? [] : [rebuiltFrom])];
  // Many come that tell only of steps, and dispatch need not look for each.
  const kind = event.startsWith('job.') ? 'steps' : 'deliveries';
  const [row] = await sql<[{ ours: boolean; stored: boolean }]>`
    with judged as materialized (
      select ${address !== undefined}::boolean or exists (
        select from builds where provider = ${provider} and build = any(${builds}::text[])
      ) as ours
    ), stored as (
      insert into deliveries (provider, key, share, event, build, rebuilt_from, knot, rkey, job, ref, seen)
      select ${provider}, ${key}, ${share}::smallint, ${event}, ${build}, ${rebuiltFrom ?? null},
        ${address ? plainText(address.knot) : null}, ${address ? plainText(address.rkey) : null},
        ${address ? plainText(address.job) : null}, ${jsonText(ref)}::text::jsonb, ${jsonText(seen)}::text::jsonb
      from judged where ours
      on conflict (provider, key) do nothing
      returning share
    )
    select judged.ours, stored.share is not null as stored, pg_notify('inbox', stored.share || ${` ${kind}`})
    from judged left join stored on true`;
  return row.stored ? 'stored' : row.ours ? 'known' : 'foreign';
}
