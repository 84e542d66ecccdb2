// The same by protobuf.
import assert from 'node:assert/strict';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { open } from './fleet.js';
import { ask, base64, end, isError, replay, start } from './wire.js';

const nc = await open();
const root = new protobuf.Root();
root.resolvePath = (_, file) => (file.startsWith('google/') ? file : fileURLToPath(new URL(`../../pb/${file}`, import.meta.url)));
await root.load(['task.proto', 'run.proto', 'glance.proto', 'maint.proto']);
const type = (name) => root.lookupType(`runnel.v1.${name}`);
const plain = { enums: String, longs: Number, defaults: true };

async function call(subject, name, message, contentType = 'application/protobuf') {
  const body = type(`${name}Request`).encode(type(`${name}Request`).fromObject({ kind: 'runner', ...message })).finish();
  const reply = await ask(nc, subject, body, { 'Content-Type': contentType });
  if (isError(reply)) return reply;
  assert.equal(reply.headers.get('Content-Type'), 'application/protobuf');
  return type(`${name}Reply`).toObject(type(`${name}Reply`).decode(reply.data), plain);
}

test('a task, its log, its query, its abort', async () => {
  const { run, service } = await call('runner.task.any', 'Task', {
    spec: { task: { file: { content: base64('#!/bin/bash\ncat\n') }, stdin: base64('by protobuf\n'), tags: { by: 'protobuf' } } },
  });
  assert.equal(run.state, 'RUNNING');
  assert.equal(service.runner, run.runner);
  const { log } = await replay(nc, run);
  assert.equal(log.stdout().toString(), 'by protobuf\n');
  await end(nc, run.id);
  const { runs } = await call('runner.query.any', 'Query', { spec: { query: { all: true, tags: { by: 'protobuf' }, states: ['COMPLETE'] } } });
  assert.deepEqual([runs.length, runs[0].id, runs[0].exitCode, runs[0].lines], [1, run.id, 0, 1]);
  const aborted = await call('runner.abort.any', 'Abort', { spec: { abort: { run: run.id } } });
  assert.equal(aborted.run.state, 'COMPLETE');
});

test('a glance, and a clock', async () => {
  const glance = await call('runner.glance.at.web1', 'Glance', { spec: { glance: { dir: { path: '/', limit: 2 } } } }, 'Application/Protobuf; charset=x');
  assert.deepEqual(glance.dir.entries.map((e) => e.name), ['.', '..']);
  assert.equal(glance.runner, 'web1');
  const maint = await call('runner.maint.at.web1', 'Maint', { spec: { maint: { clock: { timeNanos: String(BigInt(Date.now()) * 1000000n) } } } });
  assert.ok(Math.abs(maint.clock.offset) < 5000);
  assert.equal(maint.clock.sync.status, 3);
});

test('an error is JSON', async () => {
  for (const reply of [
    await call('runner.query.any', 'Query', { spec: { query: { runs: ['nope'] } } }),
    await ask(nc, 'runner.task.any', Uint8Array.of(0xff, 0xff), { 'Content-Type': 'application/protobuf' }),
  ]) {
    assert.equal(reply.headers.get('Content-Type'), 'application/json');
    assert.equal(reply.json().code, Number(reply.headers.get('Nats-Service-Error-Code')));
  }
});

test('the same request in either form is the same', async () => {
  const json = await start(nc, { argv: ['true'], log: { width: 80 } }, { id: 'either' });
  const { run } = await call('runner.task.any', 'Task', { metadata: { id: 'either' }, spec: { task: { argv: ['true'], log: { width: 80 } } } });
  assert.deepEqual([run.id, run.runner, run.digest], [json.id, json.runner, json.digest]);
});
