// A KafkaJS consumer that posts each record to a sink, with kept connections and as many calls at a time as the bridge makes.
//   node kafkajs.mjs PACKAGES BROKER TOPIC GROUP SINK CALLS eachBatch|eachMessage
import http from 'node:http';
import { createRequire } from 'node:module';

const [packages, broker, topic, group, sink, calls, how] = process.argv.slice(2);
const { Kafka, logLevel } = createRequire(`${packages}/`)('kafkajs');

const agent = new http.Agent({ keepAlive: true, maxSockets: Number(calls) });
const post = (message, partition) =>
  new Promise((settled, failed) => {
    const headers = {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-id': `partition:${partition}/offset:${message.offset}`,
      'ce-source': `/kafkajs#${topic}`,
      'ce-type': 'dev.knative.kafka.event',
      'ce-partitionkey': message.key.toString(),
    };
    const request = http.request(sink, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.on('end', settled);
    });
    request.on('error', failed);
    request.end(message.value);
  });

const consumer = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR }).consumer({ groupId: group });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
const ways = {
  // As NestJS runs it: one record of a partition after the other.
  eachMessage: ({ message, partition }) => post(message, partition),
  // Records of a batch go abreast, as the bridge's lanes do.
  eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
    const abreast = Math.ceil(Number(calls) / 6);
    for (let at = 0; at < batch.messages.length; at += abreast) {
      const messages = batch.messages.slice(at, at + abreast);
      await Promise.all(messages.map((message) => post(message, batch.partition)));
      resolveOffset(messages.at(-1).offset);
      await heartbeat();
    }
  },
};

await consumer.run({ partitionsConsumedConcurrently: 6, [how]: ways[how] });
