import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { openDatabase } from '../src/store/db.ts';

const [databaseUrl = ''] = process.argv.slice(2);
const sql = openDatabase(databaseUrl, { max: 20, applicationName: 'bare' });
await sql`create table hooks (id bigint generated always as identity primary key, body jsonb not null)`;
const app = Fastify();
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
app.post('/', async (request, reply) => {
  await sql`insert into hooks (body) values (${request.body as string}::text::jsonb)`;
  return reply.send();
});
await app.listen({ host: '127.0.0.1', port: 0 });
process.on('disconnect', () => process.exit(0));
process.send?.((app.server.address() as AddressInfo).port);
