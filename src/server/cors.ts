import type { FastifyReply, FastifyRequest } from 'fastify';

/** Any page may read the answer: what we serve is public, and callers prove themselves by a token and not by cookies. */
export const openToBrowsers = (reply: FastifyReply): FastifyReply => reply.header('access-control-allow-origin', '*');

/** What a browser asks before a call that is more than a plain read. */
export function answerPreflight(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return openToBrowsers(reply)
    .header('access-control-allow-methods', 'GET, HEAD, POST, OPTIONS')
    .header('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '*')
    .header('access-control-max-age', '86400')
    .header('vary', 'Access-Control-Request-Headers')
    .code(204)
    .send();
}
