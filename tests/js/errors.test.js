// Errors: headers and bodies.
import assert from 'node:assert/strict';
import test from 'node:test';
import { open } from './fleet.js';
import { ask, base64, envelope, isError } from './wire.js';

const nc = await open();

const cases = [
  ['garbage', 'runner.task.any', 'garbage', 400, /invalid JSON/],
  ['no body', 'runner.task.any', '', 400, /empty body/],
  ['no kind', 'runner.query.any', '{}', 400, /invalid kind/],
  ['another version', 'runner.abort.any', { ...envelope({}), apiVersion: 'v2' }, 400, /invalid apiVersion/],
  ['no spec', 'runner.maint.any', { kind: 'runner' }, 400, /spec.maint is missing/],
  ['an unknown field', 'runner.task.any', envelope({ task: { argv: ['true'], colour: 'red' } }), 400, /"colour"/],
  ['a field twice', 'runner.task.any', '{"kind":"runner","kind":"runner"}', 400, /duplicate field "kind"/],
  ['a null', 'runner.task.any', envelope({ task: { argv: ['true'], name: null } }), 400, /"name" is null/],
  ['bytes after the object', 'runner.glance.any', '{"kind":"runner","spec":{"glance":{}}} x', 400, /invalid JSON/],
  ['a duration without a unit', 'runner.task.any', envelope({ task: { argv: ['true'], timeout: '5' } }), 400, /spec.task.timeout/],
  ['two kinds of task', 'runner.task.any', envelope({ task: { file: { content: base64('#!/bin/bash\n') }, commands: ['true'] } }), 400, /file and commands not supported meanwhile/],
  ['no kind of task', 'runner.task.any', envelope({ task: {} }), 400, /invalid file/],
  ['another shell', 'runner.task.any', envelope({ task: { file: { content: base64('#!/bin/sh\n') } } }), 400, /invalid type/],
  ['params in a circle', 'runner.task.any', envelope({ task: { argv: ['true'], params: [{ name: 'A', value: '$A' }] } }), 400, /refers to itself/],
  ['a bad id', 'runner.task.any', { ...envelope({ task: { argv: ['true'] } }), metadata: { id: 'a.b' } }, 400, /metadata.id/],
  ['a limit that is none', 'runner.task.any', envelope({ task: { argv: ['true'], limits: { memoryMax: 'lots' } } }), 400, /memoryMax/],
  ['an unknown run', 'runner.query.any', envelope({ query: { runs: ['nope'] } }), 404, /^unknown run id nope$/],
  ['an abort of an unknown run', 'runner.abort.any', envelope({ abort: { run: 'nope' } }), 404, /unknown run id nope/],
  ['a record that is too large', 'runner.task.any', envelope({ task: { argv: ['true'], name: 'n'.repeat(30_000) } }), 413, /24 KiB/],
];
for (const [name, subject, body, code, text] of cases) {
  test(name, async () => {
    const reply = await ask(nc, subject, body);
    assert.equal(reply.headers.get('Nats-Service-Error-Code'), String(code));
    assert.match(reply.headers.get('Nats-Service-Error'), text);
    assert.equal(reply.headers.get('Content-Type'), 'application/json');
    assert.match(reply.headers.get('Runner-Name'), /^(web1|db1)$/);
    assert.deepEqual(reply.json(), { error: reply.headers.get('Nats-Service-Error'), code });
  });
}

test('glance and maint say what they know beside an error', async () => {
  const secret = await ask(nc, 'runner.glance.at.web1', envelope({ glance: { file: { path: '/etc/shadow', maxSize: 100000 } } }));
  assert.equal(secret.headers.get('Nats-Service-Error-Code'), '403');
  assert.equal(secret.json().file.error, secret.headers.get('Nats-Service-Error'));
  const half = await ask(nc, 'runner.glance.at.web1', envelope({ glance: { dir: { path: '/' }, file: { path: '/no/such/file', maxSize: 1 } } }));
  assert.ok(!isError(half));
  assert.match(half.json().file.error, /no such file/);
  assert.equal(half.json().dir.entries[0].name, '.');
  const clock = await ask(nc, 'runner.maint.at.web1', envelope({ maint: { clock: {} } }));
  assert.equal(clock.headers.get('Nats-Service-Error'), 'invalid clock time');
  assert.deepEqual([clock.json().clock.diff, clock.json().clock.sync.status], [{ time: 0, dangerous: true }, 2]);
});

test('nobody there', async () => {
  await assert.rejects(ask(nc, 'runner.task.at.nobody', envelope({ task: { argv: ['true'] } })), /no responders/);
});

test('after all that the next request is served', async () => {
  const noise = Buffer.alloc(1 << 19, '[{"a":');
  assert.equal((await ask(nc, 'runner.task.at.web1', noise)).headers.get('Nats-Service-Error-Code'), '400');
  assert.ok(!isError(await ask(nc, 'runner.glance.at.web1', envelope({ glance: {} }))));
});
