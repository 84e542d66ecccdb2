// A task and its record.
import assert from 'node:assert/strict';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { Kvm } from '@nats-io/kv';
import { open } from './fleet.js';
import { base64, call, end, replay, start } from './wire.js';

const nc = await open();

test('the reply is the accepted run, the record its end', async () => {
  const run = await start(nc, { name: 'three', commands: ['echo out; echo err >&2; exit 3'], tags: { team: 'blue' } });
  assert.match(run.id, /^[0-9A-Z]{26}$/);
  assert.equal(run.state, 'RUNNING');
  assert.equal(run.logStream, 'RUNNER_LOG');
  assert.equal(run.logSubject, `runner.log.${run.runner}.${run.id}`);
  const last = await end(nc, run.id);
  assert.deepEqual(
    [last.state, last.reason, last.exitCode, last.signal, last.error, last.name, last.tags.team, last.lines, last.bytes, last.logComplete],
    ['COMPLETE', 'exit', 3, '', '', 'three', 'blue', 2, 8, true]);
  const { log } = await replay(nc, last);
  assert.equal(log.stdout().toString(), 'out\n');
  assert.equal(log.stderr().toString(), 'err\n');
  assert.equal(log.end.sha256, last.sha256);
  assert.equal(log.end.exitCode, 3);
});

const output = async (task) => {
  const run = await start(nc, task);
  const { log } = await replay(nc, run);
  return log;
};

test('file, gzip, argv, stdin, params, dir', async () => {
  const script = '#!/bin/bash -e\necho "$GREETING $0" | sed "s/ .*//"\npwd\n';
  const params = [{ name: 'GREETING', value: '$WORD' }, { name: 'WORD', value: 'hello' }];
  for (const file of [{ content: base64(script) }, { content: base64(gzipSync(script)), gzip: true }]) {
    assert.equal((await output({ file, params, dir: '/' })).stdout().toString(), 'hello\n/\n');
  }
  assert.equal((await output({ argv: ['printf', '%s|', 'a  b', '$HOME', '*'] })).stdout().toString(), 'a  b|$HOME|*|');
  assert.equal((await output({ argv: ['cat'], stdin: base64('in\n') })).stdout().toString(), 'in\n');
});

test('ends other than an exit', async () => {
  const died = await end(nc, (await start(nc, { commands: ['kill -KILL $$'] })).id);
  assert.deepEqual([died.state, died.reason, died.signal, died.exitCode], ['COMPLETE', 'signal', 'SIGKILL', 0]);
  const late = await end(nc, (await start(nc, { argv: ['sleep', '60'], timeout: '100ms' })).id);
  assert.deepEqual([late.state, late.reason], ['TIMEDOUT', 'timeout']);
  for (const task of [{ argv: ['/no/such/program'] }, { argv: ['true'], dir: '/no/such/dir' }, { argv: ['true'], user: 'nosuchuser' }]) {
    const failed = await end(nc, (await start(nc, task)).id);
    assert.deepEqual([failed.state, failed.reason, failed.lines, failed.logComplete], ['FAILED', 'rejected', 0, true]);
    assert.ok(failed.error);
    const { log, bodies } = await replay(nc, failed);
    assert.equal(log.end.state, 'FAILED');
    assert.equal(bodies.length, 1);
  }
});

test('an id starts one run', async () => {
  const task = { commands: ['echo once'] };
  const first = await start(nc, task, { id: 'once-1' });
  const again = await start(nc, task, { id: 'once-1' });
  assert.deepEqual([again.id, again.runner, again.created], [first.id, first.runner, first.created]);
  await assert.rejects(start(nc, { commands: ['echo twice'] }, { id: 'once-1' }), { code: 409 });
  await end(nc, 'once-1');
  assert.equal((await start(nc, task, { id: 'once-1' })).state, 'COMPLETE');
});

test('the bucket has the record that replies have', async () => {
  const run = await start(nc, { argv: ['true'] });
  const last = await end(nc, run.id);
  const runs = await new Kvm(nc).open('runner_runs');
  assert.deepEqual((await runs.get(run.id)).json(), last);
  const card = (await (await new Kvm(nc).open('runner_fleet')).get(run.runner)).json();
  assert.deepEqual([card.name, card.state, card.instance], [run.runner, 'ready', run.instance]);
});

test('a watch of the bucket sees a run live', async () => {
  const runs = await new Kvm(nc).open('runner_runs');
  const watch = await runs.watch({ key: 'watched' });
  const states = [];
  const seen = (async () => {
    for await (const e of watch) {
      states.push(e.json().state);
      if (states.at(-1) === 'COMPLETE') break;
    }
  })();
  await start(nc, { argv: ['sleep', '0.5'] }, { id: 'watched' });
  await seen;
  assert.deepEqual(states, ['RUNNING', 'COMPLETE']);
});

test('a trace goes through', async () => {
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const { run } = await call(nc, 'runner.task.any', { task: { commands: ['echo $TRACEPARENT'] } }, { header: { traceparent: trace } });
  assert.equal(run.traceparent, trace);
  const { log } = await replay(nc, run);
  assert.equal(log.stdout().toString(), trace + '\n');
});
