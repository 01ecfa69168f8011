import { NSID } from './nsid.ts';

/**
 * The AT-URI that a status names its pipeline by. A port stays as it is (`localhost:6000`, not `%3A`): an appview cuts
 * `did:web:` off and looks up the rest among its knots (tangled core, `spindle/models`).
 */
export function pipelineUri(knot: string, rkey: string): string {
  return `at://did:web:${knot}/${NSID.pipeline}/${rkey}`;
}

/** The reverse of `pipelineUri`, strict; undefined if the text is not of that form. */
export function parsePipelineUri(uri: string): { knot: string; rkey: string } | undefined {
  const match = /^at:\/\/did:web:([^/%\s]+)\/sh\.tangled\.pipeline\/([^/%\s]+)$/.exec(uri);
  return match?.[1] && match[2] ? { knot: match[1], rkey: match[2] } : undefined;
}
