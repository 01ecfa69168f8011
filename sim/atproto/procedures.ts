import { z } from 'zod';
import { cidOf } from './cid.ts';
import { commitCid, type Network, type Written } from './network.ts';

const did = z.string().startsWith('did:');
const create = z.object({ repo: did, collection: z.string(), rkey: z.string().optional(), record: z.unknown() });
const put = create.extend({ rkey: z.string() });
const remove = z.object({ repo: did, collection: z.string(), rkey: z.string() });
const account = z.object({ handle: z.string().exactOptional(), did: did.exactOptional() });
const one = z.object({ did });

/** What a PDS lets its users do, here for anybody: the bodies are those of the real methods. */
export function procedures(network: Network, pds: string): Record<string, (body: unknown) => unknown> {
  const answer = (repo: string, record: unknown, { uri, rev }: Written) => ({
    uri,
    cid: cidOf(record),
    commit: { cid: commitCid(repo, rev), rev },
    validationStatus: 'unknown',
  });
  return {
    'com.atproto.server.createAccount': (body) => {
      const made = network.account({ ...account.parse(body ?? {}), pds });
      return { did: made.did, handle: made.handle };
    },
    'com.atproto.repo.createRecord': (body) => {
      const { repo, collection, record, rkey } = create.parse(body);
      return answer(repo, record, network.create(repo, collection, record, rkey));
    },
    'com.atproto.repo.putRecord': (body) => {
      const { repo, collection, record, rkey } = put.parse(body);
      return answer(repo, record, network.put(repo, collection, rkey, record));
    },
    // deleting what is not there is no error
    'com.atproto.repo.deleteRecord': (body) => {
      const { repo, collection, rkey } = remove.parse(body);
      if (!network.repoOf(repo).get(collection, rkey)) return {};
      const rev = network.delete(repo, collection, rkey);
      return { commit: { cid: commitCid(repo, rev), rev } };
    },
    // the real ones know their account by its session
    'com.atproto.server.deactivateAccount': (body) => {
      network.deactivate(one.parse(body).did);
      return {};
    },
    'com.atproto.server.activateAccount': (body) => {
      network.reactivate(one.parse(body).did);
      return {};
    },
    'com.atproto.server.deleteAccount': (body) => {
      network.deleteAccount(one.parse(body).did);
      return {};
    },
  };
}
