import { onTestFinished } from 'vitest';
import type { Link, OpenLink } from '../../faults/contract.ts';
import { openLink } from '../../faults/links/index.ts';

/** A link that ends with the test, and with it whatever goes through it. */
export async function linked(options: Parameters<OpenLink>[0]): Promise<Link> {
  const link = await openLink(options);
  onTestFinished(async () => {
    link.refuse();
    link.cut();
    await link.close();
  });
  return link;
}
