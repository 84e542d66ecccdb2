// What a stranger finds out with NATS's own service discovery.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Svcm } from '@nats-io/services';
import { open } from './fleet.js';
import { call } from './wire.js';

const nc = await open();
const client = new Svcm(nc).client();
const all = async (found) => {
  const list = [];
  for await (const one of await found) list.push(one);
  return list.sort((a, b) => (a.metadata.runner < b.metadata.runner ? -1 : 1));
};

test('PING finds every runner', async () => {
  const found = await all(client.ping('runner'));
  assert.deepEqual(found.map((s) => [s.name, s.metadata.runner, s.metadata.pools]), [['runner', 'db1', 'db'], ['runner', 'web1', 'web']]);
});

test('INFO tells how to call it', async () => {
  const [db1] = await all(client.info('runner'));
  const subjects = db1.endpoints.map((e) => e.subject);
  for (const subject of ['runner.task.at.db1', 'runner.task.all', 'runner.task.pool.db.all', 'runner.glance.any', 'runner.glance.pool.db.any',
    'runner.maint.at.db1', 'runner.query.any', 'runner.abort.any', 'runner.abort.at.db1']) {
    assert.ok(subjects.includes(subject), subject);
  }
  for (const e of db1.endpoints) assert.ok(e.metadata.about && e.metadata.request && e.metadata.reply, e.subject);
  const task = db1.endpoints.find((e) => e.subject === 'runner.task.at.db1');
  assert.equal(task.metadata.any, 'runner.task.any runner.task.pool.db.any');
  assert.equal(task.metadata['any-queue'], 'runner');
});

test('the example request of each endpoint is one that it understands', async () => {
  const [db1] = await all(client.info('runner'));
  for (const e of db1.endpoints.filter((e) => !/abort|maint/.test(e.subject))) {
    const { spec } = JSON.parse(e.metadata.request);
    await call(nc, e.subject, spec);
  }
});

test('STATS counts requests and errors', async () => {
  await call(nc, 'runner.glance.at.web1', { glance: {} });
  await assert.rejects(call(nc, 'runner.glance.at.web1', {}), { code: 400 });
  const web1 = (await all(client.stats('runner')))[1];
  const { data } = web1.endpoints.find((e) => e.name === 'glance-at');
  assert.equal(data.requests, 2);
  assert.equal(data.errors, 1);
  assert.equal(data.last_error, 'spec.glance is missing');
});
