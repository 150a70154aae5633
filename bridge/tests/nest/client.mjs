// Two NestJS clients, as a shop's gateway has them, ask through the bridge. What they hear is one line of JSON.
//   node client.mjs BROKER TOPIC PLAIN_TOPIC
import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom, timeout, toArray } from 'rxjs';

const [broker, topic, plain] = process.argv.slice(2);
Logger.overrideLogger(false);

const start = (name) => {
  const client = ClientProxyFactory.create({
    transport: Transport.KAFKA,
    options: {
      client: { clientId: name, brokers: [broker], logLevel: 0 },
      consumer: { groupId: topic, heartbeatInterval: 300, sessionTimeout: 10000, maxWaitTimeInMs: 100 },
    },
  });
  client.subscribeToResponseOf(topic);
  client.subscribeToResponseOf(plain);
  return client;
};
const [one, two] = [start('one'), start('two')];
const partition = (client) => client.getConsumerAssignments()[`${topic}.reply`];
const places = (client) => [topic, plain].map((each) => client.getConsumerAssignments()[`${each}.reply`]);
const ready = (client) => places(client).every((place) => place !== undefined);
const ask = (client, value, to = topic) => firstValueFrom(client.send(to, value).pipe(timeout(20000)));
const failure = (promise) => promise.then((answer) => ({ answer }), (error) => error);

await one.connect();
await two.connect();
while (!ready(one) || !ready(two) || partition(one) === partition(two)) {
  await new Promise((resume) => setTimeout(resume, 50));
}

const many = (client, name) =>
  Array.from({ length: 40 }, (_, n) => ask(client, { key: `k${n % 5}`, value: { echo: `${name}-${n}` } }));
const both = Promise.all([Promise.all(many(one, 'one')), Promise.all(many(two, 'two'))]);
const heard = {
  sum: await ask(one, [1, 2, 3]),
  text: await ask(one, 'hello'),
  nothing: await ask(one, { nothing: true }),
  refused: await failure(ask(one, { refuse: 'not today' })),
  failed: await failure(ask(one, { fail: true })),
  stream: await lastValueFrom(one.send(topic, { facts: 3 }).pipe(timeout(20000), toArray())),
  plain: await ask(two, [4, 5], plain),
  both: await both,
  partitions: [partition(one), partition(two)],
};
await lastValueFrom(two.emit(topic, { key: 'emitted', value: { emitted: true } }));
await Promise.all([one.close(), two.close()]);
console.log(JSON.stringify(heard));
