// Writes a record for each of COUNT keys with KafkaJS.
//   node keys.mjs BROKER TOPIC COUNT
import { Kafka, Partitioners } from 'kafkajs';

const [broker, topic, count] = process.argv.slice(2);
const kafka = new Kafka({ clientId: 'keys', brokers: [broker], logLevel: 0 });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
const messages = Array.from({ length: Number(count) }, (_, n) => ({ key: `key-${n}`, value: 'by KafkaJS' }));
await producer.send({ topic, messages });
await producer.disconnect();
