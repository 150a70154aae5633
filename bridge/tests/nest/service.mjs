// A NestJS service hears what functions tell: each thing that it hears is one line of JSON.
//   node service.mjs BROKER EVENTS MESSAGES
import 'reflect-metadata';
import { Controller, Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, MessagePattern, Payload, Transport } from '@nestjs/microservices';

const [broker, events, messages] = process.argv.slice(2);
Logger.overrideLogger(false);

// Decorators by hand: this file runs without a compiler.
const handles = (type, method, pattern) => {
  pattern(type.prototype, method, Object.getOwnPropertyDescriptor(type.prototype, method));
  Payload()(type.prototype, method, 0);
  Ctx()(type.prototype, method, 1);
};

const tell = (by, data, context) =>
  console.log(JSON.stringify({ by, data, headers: context.getMessage().headers, key: context.getMessage().key }));

class Listener {
  event(data, context) {
    tell('event', data, context);
  }
  message(data, context) {
    tell('message', data, context);
  }
}
handles(Listener, 'event', EventPattern(events));
handles(Listener, 'message', MessagePattern(messages));
Controller()(Listener);

class App {}
Module({ controllers: [Listener] })(App);

const app = await NestFactory.createMicroservice(App, {
  transport: Transport.KAFKA,
  options: {
    client: { clientId: 'listener', brokers: [broker], logLevel: 0 },
    consumer: { groupId: events, maxWaitTimeInMs: 100 },
    subscribe: { fromBeginning: true },
  },
});
await app.listen();
