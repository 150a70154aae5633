// The function `admin` as a plain Node server, to compare with: it takes an event, sees that the bridge may send it, notes it once
// and says 204. It keeps its notes in memory and forgets them with its pod: with a database, it would cost more.
import { createServer } from 'node:http';
import { timingSafeEqual } from 'node:crypto';

const token = Buffer.from(`Bearer ${process.env.BRIDGE_TOKEN}`);
const notes = new Map();

function isBridge(request) {
  const shown = Buffer.from(request.headers.authorization ?? '');
  return shown.length === token.length && timingSafeEqual(shown, token);
}

function hear(headers, body) {
  const key = `${headers['ce-source']} ${headers['ce-id']}`;
  if (!notes.has(key)) {
    notes.set(key, { type: headers['ce-type'], subject: headers['ce-subject'], data: body.length ? JSON.parse(body) : null });
  }
}

async function read(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

const server = createServer(async (request, response) => {
  const body = await read(request);
  const status = isBridge(request) ? 204 : 401;
  if (status === 204 && request.headers['ce-type'] !== 'dev.till.wake') hear(request.headers, body);
  response.writeHead(status).end();
});
server.listen(Number(process.env.PORT));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
