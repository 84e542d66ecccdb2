// A page as prunner's: it polls the list and a log, starts and cancels, and takes
// only what it may show.
import assert from 'node:assert/strict';
const { URL: base, TOKEN: token } = process.env;
const call = (path, init = {}) => fetch(base + path, { ...init, headers: { Authorization: `Bearer ${token}`, ...init.headers } });
const get = async (path) => {
  const response = await call(path);
  assert.ok(response.ok, path);
  return response.json();
};
const start = async (pipeline) => {
  const response = await call('/pipelines/schedule', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ pipeline, variables: { tag: 'v1' } }) });
  assert.equal(response.status, 202);
  return (await response.json()).jobId;
};
const find = async (id, is) => {
  for (let i = 0; i < 600; i++) {
    const { jobs, pipelines } = await get('/pipelines/jobs');
    assert.ok(pipelines.every((p) => typeof p.schedulable === 'boolean'));
    const job = jobs.find((j) => j.id === id);
    assert.ok(job, 'a job that was started is in the list');
    for (const j of jobs) {
      assert.ok(!('error' in j) && Array.isArray(j.tasks) && (j.start === null || !Number.isNaN(new Date(j.start).getTime())), JSON.stringify(j));
      const names = j.tasks.map((t) => t.name);
      for (const t of j.tasks) assert.ok((t.dependsOn ?? []).every((d) => names.includes(d)) && Number.isInteger(t.exitCode));
    }
    if (is(job)) return job;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`job ${id} never is so`);
};

const id = await start('release');
const job = await find(id, (j) => j.completed);
assert.deepEqual(job.tasks.map((t) => t.status), ['done', 'done']);
const logs = await get(`/job/logs?id=${encodeURIComponent(id)}&task=${encodeURIComponent('test')}`);
assert.equal(logs.stdout, 'a"<\n\tb');

// The browser's own cache: what it has is asked for with its tag.
const first = await call('/pipelines/jobs');
await first.text();
const tag = first.headers.get('etag');
const again = await call('/pipelines/jobs', { headers: { 'If-None-Match': tag } });
assert.equal(again.status, 304);
await again.text();

const slow = await start('slow');
await find(slow, (j) => j.start && !j.end && !j.canceled); // then it shows a button
const canceled = await call(`/job/cancel?id=${encodeURIComponent(slow)}`, { method: 'POST' });
assert.equal(canceled.status, 200);
assert.equal(await canceled.json(), true);
await find(slow, (j) => j.canceled && j.end);
console.log('all good');
