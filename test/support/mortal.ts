import type { Provider } from '../../src/providers/provider.ts';
import type { Sql } from '../../src/store/db.ts';
import type { Custody, CustodyDeps } from './custody.ts';

/**
 * A process that dies: after so many moments (before and after each statement and each answer of the CI) nothing that it
 * does has an effect any more. What was under way is lost or done, as it is by SIGKILL.
 */
export function mortal(
  { sql, provider }: Pick<Custody, 'sql' | 'provider'>,
  moments: number,
): Pick<CustodyDeps, 'sql' | 'provider'> {
  let left = moments;
  const live = (): void => {
    left -= 1;
    if (left < 0) throw Object.assign(new Error('dead'), { code: 'CONNECTION_CLOSED' });
  };
  const during = async <T>(work: () => PromiseLike<T>): Promise<T> => {
    live();
    const result = await work();
    live();
    return result;
  };
  const ci = provider();
  const dying: Provider = {
    ...ci,
    steps: (...given) => during(() => ci.steps(...given)),
    async *log(...given) {
      live();
      for await (const part of ci.log(...given)) {
        live();
        yield part;
        live();
      }
    },
  };
  return { sql: dyingSql(sql, during), provider: dying };
}

/** Only statements that are waited for count: fragments of others are none. */
function dyingSql(sql: Sql, during: <T>(work: () => PromiseLike<T>) => Promise<T>): Sql {
  return new Proxy(sql, {
    apply(target, self, given) {
      const query: unknown = Reflect.apply(target, self, given);
      if (!(query instanceof Promise)) return query;
      // oxlint-disable-next-line unicorn/no-thenable -- a statement is one, and runs when it is waited for
      return Object.defineProperty(query, 'then', { value: waited(query, during) });
    },
  });
}

function waited(
  query: Promise<unknown>,
  during: <T>(work: () => PromiseLike<T>) => Promise<T>,
): Promise<unknown>['then'] {
  const run = query.then.bind(query);
  const result = (): PromiseLike<unknown> => new Promise((resolve, reject) => void run(resolve, reject));
  return (ok, no) => during(result).then(ok, no);
}
