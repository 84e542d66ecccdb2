// Query, wait and abort.
import assert from 'node:assert/strict';
import test from 'node:test';
import { open } from './fleet.js';
import { call, end, FINAL, follow, start } from './wire.js';

const nc = await open();
const query = (q, timeout) => call(nc, 'runner.query.any', { query: q }, { timeout });
const abort = (run, wait) => call(nc, 'runner.abort.any', { abort: { run, ...(wait && { wait }) } });

test('a query waits for the first match', async () => {
  const run = await start(nc, { argv: ['sleep', '0.5'] });
  const none = await query({ runs: [run.id], states: FINAL });
  assert.deepEqual([none.runs, none.next], [[], '']);
  const began = Date.now();
  const { runs } = await query({ runs: [run.id], states: ['COMPLETE'], wait: '10s' }, 15000);
  assert.equal(runs[0].state, 'COMPLETE');
  assert.ok(Date.now() - began < 5000);
});

test('a wait that is over is an empty list', async () => {
  const run = await start(nc, { argv: ['sleep', '60'] });
  assert.deepEqual((await query({ runs: [run.id], states: ['COMPLETE'], wait: '100ms' })).runs, []);
  await abort(run.id);
});

test('a state that can not be reached any more', async () => {
  const run = await start(nc, { argv: ['true'] });
  await end(nc, run.id);
  const { runs } = await query({ runs: [run.id], states: ['ABORTED'], wait: '20s' }, 5000);
  assert.equal(runs[0].state, 'COMPLETE');
});

test('tags, pages, newest first', async () => {
  const ids = [];
  for (let i = 0; i < 5; i++) ids.unshift((await start(nc, { argv: ['true'], tags: { batch: 'b1', n: String(i) } })).id);
  for (const id of ids) await end(nc, id);
  const found = [];
  let next = '';
  do {
    const page = await query({ all: true, tags: { batch: 'b1' }, limit: 2, next });
    assert.ok(page.runs.length <= 2);
    found.push(...page.runs.map((r) => r.id));
    next = page.next;
  } while (next);
  assert.deepEqual(found, ids);
  assert.deepEqual((await query({ all: true, tags: { batch: 'b1', n: '3' } })).runs.map((r) => r.id), [ids[1]]);
});

test('an abort ends the whole tree', async () => {
  for (const runner of ['web1', 'db1']) { // asked by any, whoever has it
    const run = await start(nc, { commands: ['sleep 60 & sleep 60'] }, { subject: `runner.task.at.${runner}` });
    const { run: ended } = await abort(run.id);
    assert.deepEqual([ended.state, ended.reason, ended.logComplete, ended.aborting], ['ABORTED', 'aborted', true, false]);
    assert.equal((await abort(run.id)).run.state, 'ABORTED');
  }
});

test('an abort that takes longer says so', async () => {
  const ready = new Promise((resolve) => {
    follow(nc, 'deaf', (r) => r.message === 'ready' && resolve());
  });
  await nc.flush();
  const run = await start(nc, { commands: ['trap "" TERM; echo ready; while :; do sleep 1; done'], grace: '1s' }, { id: 'deaf' });
  await ready;
  const { run: now } = await abort(run.id, '50ms');
  assert.deepEqual([now.state, now.aborting], ['RUNNING', true]);
  const last = await end(nc, run.id);
  assert.deepEqual([last.state, last.aborting], ['ABORTED', false]);
});

test('an abort at the wrong runner', async () => {
  const run = await start(nc, { argv: ['sleep', '60'] }, { subject: 'runner.task.at.web1' });
  await assert.rejects(call(nc, 'runner.abort.at.db1', { abort: { run: run.id } }), { code: 503 });
  await abort(run.id);
});
