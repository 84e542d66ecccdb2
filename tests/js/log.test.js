// The log: live, replayed, and byte for byte.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { open } from './fleet.js';
import { base64, end, follow, Log, records, replay, start } from './wire.js';

const nc = await open();

test('lines come while the task runs, and replay is the same', async () => {
  const came = [];
  const live = await follow(nc, 'live-1', (r) => came.push([r.message, Date.now()]));
  await start(nc, { commands: ['for i in 1 2 3; do echo line $i; sleep 0.2; done; printf tail'] }, { id: 'live-1' });
  const { log, bodies } = await live.done;
  assert.equal(log.stdout().toString(), 'line 1\nline 2\nline 3\ntail');
  assert.ok(came[2][1] - came[0][1] > 200, 'the first line did not wait for the third');
  const last = await end(nc, 'live-1');
  const again = await replay(nc, last);
  assert.deepEqual(again.bodies, bodies);
  assert.equal(again.log.end.sha256, last.sha256);
});

test('random bytes come back on both streams', async () => {
  // Every byte value, in an order that is the same each time.
  const bytes = Buffer.alloc(300_000);
  for (let i = 0, x = 1; i < bytes.length; i++) bytes[i] = (x = (x * 1103515245 + 12345) & 0x7fffffff) >> 16;
  const live = await follow(nc, 'bytes');
  await start(nc, { commands: ['tee /dev/stderr'], stdin: base64(bytes) }, { id: 'bytes' });
  const { log } = await live.done;
  assert.ok(log.stdout().equals(bytes));
  assert.ok(log.stderr().equals(bytes));
  const { log: again } = await replay(nc, await end(nc, 'bytes'));
  assert.ok(again.stdout().equals(bytes));
  assert.ok(again.stderr().equals(bytes));
});

test('a flood packs itself', async () => {
  const run = await start(nc, { argv: ['seq', '200000'] });
  const { log, bodies } = await replay(nc, run);
  assert.equal(log.lines, 200_000);
  assert.ok(bodies.length < 2_000, `${bodies.length} messages`);
  const want = createHash('sha256');
  for (let i = 1; i <= 200_000; i++) want.update(`${i}\n`);
  assert.equal(log.end.sha256, want.digest('hex'));
});

test('settings of the log', async () => {
  const one = await replay(nc, await start(nc, { commands: ['seq 5'], log: { pack: 1 } }));
  assert.deepEqual(one.bodies.slice(0, -1).map((b) => records(b).map((r) => r.message)), [['1'], ['2'], ['3'], ['4'], ['5']]);
  const narrow = await replay(nc, await start(nc, { argv: ['printf', '%s', 'aé€😀bc'], log: { width: 2 } }));
  assert.deepEqual(narrow.bodies.flatMap(records).map((r) => r.message).slice(0, -1), ['aé', '€😀', 'bc']);
  assert.equal(narrow.log.stdout().toString(), 'aé€😀bc');
  const short = await replay(nc, await start(nc, { argv: ['seq', '1000'], log: { maxBytes: 6 } }));
  assert.equal(short.log.stdout().toString(), '1\n2\n3\n');
  assert.equal(short.log.dropped, 997);
});

test('text that looks like a tag is text', async () => {
  const text = 'EOF\nBOL\n{"pos":1,"tag":"EOF"}\n';
  const { log } = await replay(nc, await start(nc, { argv: ['printf', '%s', text] }));
  assert.equal(log.stdout().toString(), text);
});

test('the examples of docs/wire.md are right', () => {
  const wire = readFileSync(new URL('../../docs/wire.md', import.meta.url), 'utf8');
  const examples = [...wire.matchAll(/<!-- checked: out=(".*?") err=(".*?") -->\n```json\n(.*?)```/gs)];
  assert.equal(examples.length, 5);
  for (const [, out, err, body] of examples) {
    const log = new Log();
    for (const r of records(body)) log.add(r);
    assert.ok(log.end);
    assert.ok(log.stdout().equals(unquote(out)), `${log.stdout()} is not ${out}`);
    assert.ok(log.stderr().equals(unquote(err)));
  }
});

// unquote reads a string in which \xff is a byte.
const unquote = (s) => Buffer.concat(s.slice(1, -1).split(/(\\x..|\\n)/).map((part) =>
  part.startsWith('\\x') ? Buffer.from(part.slice(2), 'hex') : Buffer.from(part === '\\n' ? '\n' : part)));
