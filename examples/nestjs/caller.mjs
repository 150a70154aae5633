// What a NestJS gateway does with an injected ClientKafka, in one file.
import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';

Logger.overrideLogger(false);
const client = ClientProxyFactory.create({
  transport: Transport.KAFKA,
  options: { client: { clientId: 'gateway', brokers: ['127.0.0.1:9092'] }, consumer: { groupId: 'gateway' } },
});
client.subscribeToResponseOf('sums');
await client.connect();

console.log('1 + 2 + 3 =', (await firstValueFrom(client.send('sums', [1, 2, 3]))).sum);
try {
  await firstValueFrom(client.send('sums', { one: 1 }));
} catch (error) {
  console.log('refused with', error.statusCode, error.message);
}
await client.close();
