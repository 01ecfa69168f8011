import { ClientError } from '../clients/error.ts';
import { addressGuard } from '../clients/guard.ts';
import { jsonHttp } from '../clients/http.ts';
import { identityClient } from '../clients/identity.ts';
import { hostPace } from '../clients/pace.ts';
import type { ToolConfig } from '../config/index.ts';
import { type Check, checkWith, fail, need, ok, Skip, warn } from './check.ts';

const maxBytes = 256 * 1024;

export interface OwnerChecks {
  checks: Check[];
  close(): Promise<unknown>;
}

/** The owner's account: in the directory, at its own server, and what its records say of this spindle. */
export function ownerChecks({ dev, owner, hostname, network }: ToolConfig, timeoutMs: number): OwnerChecks {
  const limitMs = timeoutMs * 0.9;
  const guarded = jsonHttp({ guard: addressGuard({ dev }), timeoutMs: limitMs });
  const open = jsonHttp({ timeoutMs: limitMs });
  const identity = identityClient({ open, guarded, pace: hostPace(), plcUrl: network.plcUrl, dev });

  const query = (origin: string, method: string, params: Record<string, string>): Promise<unknown> => {
    const url = new URL(`/xrpc/${method}`, origin);
    url.search = new URLSearchParams(params).toString();
    return guarded.get(url, { maxBytes, signal: AbortSignal.timeout(limitMs) });
  };
  const named = need(async () => {
    if (owner === undefined) throw new Skip('WHORL_OWNER_DID is not set');
    return owner;
  });
  const resolved = need(async () => identity.pdsOf(await named(), AbortSignal.timeout(limitMs)));
  const server = need(async () => {
    const did = await named();
    const origin = await resolved().catch(() => {
      throw new Skip('it is not known where the owner’s records are');
    });
    return { did, origin };
  });
  const described = need(async () => {
    const { did, origin } = await server();
    return query(origin, 'com.atproto.repo.describeRepo', { repo: did });
  });
  const answering = need(async () => {
    const at = await server();
    await described().catch(() => {
      throw new Skip('the owner’s server does not answer');
    });
    return at;
  });

  const directory = owner?.startsWith('did:web:')
    ? 'the host that it names can be reached'
    : `${new URL(network.plcUrl).host} can be reached (WHORL_PLC_URL)`;
  return {
    close: () => Promise.all([guarded.close(), open.close()]),
    checks: [
      checkWith(named, 'owner', `check WHORL_OWNER_DID, and that ${directory}`, async (did) =>
        ok(`${did} lives at ${await resolved()}`),
      ),
      checkWith(server, 'owner’s server', 'until it is back, new members and repositories may wait', async () =>
        handle(await described()),
      ),
      checkWith(answering, 'registration', 'see the owner’s server', async ({ did, origin }) => {
        if (hostname === undefined) throw new Skip('WHORL_HOSTNAME is not set');
        const record = { repo: did, collection: 'sh.tangled.spindle', rkey: hostname };
        const found = await query(origin, 'com.atproto.repo.getRecord', record).catch((error: unknown) => {
          if (error instanceof ClientError && error.xrpcError === 'RecordNotFound') return undefined;
          throw error;
        });
        return registration(found, hostname);
      }),
    ],
  };
}

function handle(about: unknown) {
  const { handle: name, handleIsCorrect: right } = fields(about);
  if (typeof name !== 'string') return fail('it describes no account', 'see that a PDS is what answers there');
  if (right !== false) return ok(`answers; the owner’s handle is ${name}`);
  const advice = 'mend the DNS record or the well-known file of the handle';
  return warn(`the owner’s handle ${name} does not lead back to the account`, advice);
}

/** An appview makes this record when the owner adds the spindle there (tangled core, appview/spindles). */
function registration(record: unknown, hostname: string) {
  if (record !== undefined) {
    return ok(`the owner has added ${hostname} at Tangled; its page there says whether it is verified`);
  }
  const advice = `sign in to Tangled as the owner, open the settings for spindles, and add ${hostname}`;
  return warn(`the owner has not added ${hostname} at Tangled: nobody can choose it`, advice);
}

const fields = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? { ...value } : {};
