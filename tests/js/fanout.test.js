// Everybody, and who is missing.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createInbox, headers } from '@nats-io/transport-node';
import { jetstreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { open } from './fleet.js';
import { end, envelope } from './wire.js';

const nc = await open();
const cards = await new Kvm(nc).open('runner_fleet');

// online is who, by the cards and the server's clock, should answer.
async function online() {
  const { ts } = await (await jetstreamManager(nc)).streams.info('KV_runner_fleet');
  const names = [];
  const keys = await cards.keys();
  for await (const key of keys) {
    const entry = await cards.get(key);
    if (Date.parse(ts) - entry.created.getTime() < 30_000 && entry.json().state !== 'stopped') names.push(key);
  }
  return names.sort();
}

// fanOut asks all and tells who answered, skipped, and said nothing.
async function fanOut(verb, spec, { scope = 'all', where, id, timeout = 1000 } = {}) {
  const waiting = new Set(await online());
  const result = { answers: {}, skipped: [], missing: [] };
  const inbox = createInbox();
  const sub = nc.subscribe(inbox);
  const h = headers();
  if (where) {
    h.set('Runner-Where', where);
    h.set('Runner-Answer', 'always');
  }
  nc.publish(`runner.${verb}.${scope}`, JSON.stringify(envelope(spec, id && { id })), { reply: inbox, headers: h });
  const timer = setTimeout(() => sub.unsubscribe(), timeout);
  for await (const m of sub) {
    const name = m.headers.get('Runner-Name');
    if (m.json().skipped) result.skipped.push(name);
    else result.answers[name] = m;
    waiting.delete(name);
    if (waiting.size === 0) break;
  }
  clearTimeout(timer);
  result.missing = [...waiting].sort();
  return result;
}

test('everybody answers', async () => {
  const began = Date.now();
  const { answers, missing } = await fanOut('glance', { glance: { sys: { enable: true, processes: false } } }, { timeout: 5000 });
  assert.deepEqual(Object.keys(answers).sort(), ['db1', 'web1']);
  assert.deepEqual(missing, []);
  assert.ok(Date.now() - began < 4000, 'it did not wait for more');
  assert.ok(answers.web1.json().sys.resource.allocatable.memory > 0);
});

test('where, and who is skipped', async () => {
  const { answers, skipped, missing } = await fanOut('glance', { glance: {} }, { where: 'labels.env == "prod" && "web" in pools', timeout: 5000 });
  assert.deepEqual([Object.keys(answers), skipped, missing], [['web1'], ['db1'], []]);
  const bad = await fanOut('glance', { glance: {} }, { where: 'labels.env ==', timeout: 5000 });
  assert.deepEqual(Object.values(bad.answers).map((m) => m.headers.get('Nats-Service-Error-Code')), ['400', '400']);
});

test('without Runner-Answer who is left out is silent', async () => {
  const h = headers();
  h.set('Runner-Where', 'name startsWith "db"');
  const names = [];
  const replies = await nc.requestMany('runner.glance.all', JSON.stringify(envelope({ glance: {} })), { headers: h, strategy: 'timer', maxWait: 500 });
  for await (const m of replies) names.push(m.headers.get('Runner-Name'));
  assert.deepEqual(names, ['db1']);
});

test('who is missing', async () => {
  await cards.put('ghost', JSON.stringify({ name: 'ghost', state: 'ready' }));
  await cards.put('gone', JSON.stringify({ name: 'gone', state: 'stopped' }));
  const { answers, missing } = await fanOut('glance', { glance: {} });
  assert.deepEqual([Object.keys(answers).sort(), missing], [['db1', 'web1'], ['ghost']]);
  await cards.purge('ghost');
  await cards.purge('gone');
});

test('a run on each, one group', async () => {
  const { answers } = await fanOut('task', { task: { commands: ['echo $((40 + 2))'] } }, { id: 'g1', timeout: 5000 });
  for (const name of ['web1', 'db1']) {
    const { run } = answers[name].json();
    assert.deepEqual([run.id, run.group, run.runner], [`g1-${name}`, 'g1', name]);
    assert.equal((await end(nc, run.id)).exitCode, 0);
  }
});

test('a pool', async () => {
  const replies = await nc.requestMany('runner.glance.pool.db.all', JSON.stringify(envelope({ glance: {} })), { strategy: 'timer', maxWait: 300 });
  const names = [];
  for await (const m of replies) names.push(m.headers.get('Runner-Name'));
  assert.deepEqual(names, ['db1']);
  for (let i = 0; i < 5; i++) {
    const m = await nc.request('runner.task.pool.web.any', JSON.stringify(envelope({ task: { argv: ['true'] } })));
    assert.equal(m.headers.get('Runner-Name'), 'web1');
  }
});
