// The worker's side: topics keep what a tab needs that comes later; logs are hashed as they come.
import './setup.js'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

const { LogTopic, StateTopic, isState } = await import('../src/topics.js')
const { Stream } = await import('../src/stream.js')

const port = () => ({ got: [], postMessage(m) { this.got.push(structuredClone(m)) } })
const rec = (pos, message, more = {}) => ({ pos, message, time: '0', stream: 'stdout', ...more })
const sha = text => createHash('sha256').update(text).digest('hex')

function log() {
  const t = new LogTopic('log:r'), p = port()
  t.users.add(p)
  return { t, p, flush: () => { clearTimeout(t.timer); t.timer = 0; t.flush() } }
}

test('which topics are states', () => {
  for (const k of ['fleet', 'runs', 'jobs', 'queue', 'schedules', 'job:x']) assert.ok(isState(k), k)
  for (const k of ['log:x', 'log:fleet', 'log:queue', 'queues']) assert.ok(!isState(k), k)
})

test('a log: records with their places, none twice, and its hash', () => {
  const { t, p, flush } = log()
  t.start('')
  t.hear('log', { at: [[1, 1, 2]], records: [rec(1, 'one'), rec(2, 'tw', { tag: 'BOL' })] })
  t.hear('log', { at: [[1, 2, 1], [2, 1, 2]], records: [rec(2, 'tw', { tag: 'BOL' }), rec(2, 'o'), rec(3, '', { raw: Buffer.from([255, 10]).toString('base64') })] })
  flush()
  assert.deepEqual(p.got[0].records.map(r => [r.at, r.pos]), [['1.1', 1], ['1.2', 2], ['2.1', 2], ['2.2', 3]])
  assert.equal(t.place(), '2.2')
  t.hear('end', { record: { tag: 'EOF', pos: 4 } })
  const end = p.got.at(-1)
  assert.equal(end.sum.sha256, sha(Buffer.concat([Buffer.from('one\ntwo\n'), Buffer.from([255, 10, 10])])))
  assert.equal(end.sum.bytes, 11)
  assert.ok(t.over)
})

test('a log from its middle has no hash; one that begins again has', () => {
  const { t, p } = log()
  t.start('5.7')
  assert.equal(t.place(), '5.7')
  t.hear('log', { at: [[5, 6, 3]], records: [rec(1, 'a'), rec(2, 'b'), rec(3, 'c')] })
  t.hear('reset', {})
  t.hear('log', { at: [[1, 1, 1]], records: [rec(1, 'a')] })
  t.hear('end', { record: { tag: 'EOF', pos: 2 } })
  assert.equal(p.got.at(-1).sum.sha256, sha('a\n'))
  const other = log()
  other.t.start('5.7')
  other.t.hear('end', { error: 'unknown run id r' })
  assert.deepEqual(other.p.got, [{ key: 'log:r', op: 'refused', status: 404, words: 'unknown run id r' }])
})

test('of a flood a tab gets the newest, and how many were left out', () => {
  const { t, p, flush } = log()
  t.start('')
  let text = ''
  for (let m = 1; m <= 50; m++) {
    const records = Array.from({ length: 100 }, (_, i) => rec((m - 1) * 100 + i + 1, `line ${m} ${i}`))
    text += records.map(r => r.message + '\n').join('')
    t.hear('log', { at: [[m, 1, 100]], records })
  }
  flush()
  const [got] = p.got
  assert.equal(got.records.length, 1000)
  assert.equal(got.left, 4000)
  assert.equal(got.last, 5000)
  assert.equal(got.records.at(-1).pos, 5000)
  t.hear('end', { record: { tag: 'EOF', pos: 5001 } })
  assert.equal(p.got.at(-1).sum.sha256, sha(text))
})

test('gaps count lines and are not hashed', () => {
  const { t, p } = log()
  t.start('')
  t.hear('log', { at: [[1, 1, 2]], records: [{ tag: 'GAP', pos: 1, lines: 10, bytes: 99, time: '0' }, rec(11, 'x')] })
  t.hear('end', { record: { tag: 'EOF', pos: 12 } })
  assert.equal(p.got[0].last, 11)
  assert.equal(p.got.at(-1).sum.sha256, sha('x\n'))
})

test('states: the newest of each, all to who comes later, nothing before all have come', () => {
  const t = new StateTopic('runs'), p = port()
  t.join(p)
  assert.deepEqual(p.got.pop(), { op: 'state', key: 'runs', items: [], current: false })
  t.hear('run', { id: 'a', state: 'RUNNING' })
  t.hear('run', { id: 'a', state: 'COMPLETE' })
  t.hear('run', { id: 'b', state: 'RUNNING' })
  assert.equal(p.got.length, 0)
  assert.equal(t.place('5'), '')
  t.hear('current', {})
  assert.equal(t.place('5'), '5')
  assert.deepEqual(p.got.pop().items.map(r => r.id + r.state), ['aCOMPLETE', 'bRUNNING'])
  t.hear('run', { id: 'b', gone: true })
  t.flush()
  assert.deepEqual(p.got.pop(), { key: 'runs', op: 'change', items: [], gone: ['b'], current: true })
  const late = port()
  t.join(late)
  assert.deepEqual(late.got[0].items, [{ id: 'a', state: 'COMPLETE' }])
  t.anew()
  t.hear('run', { id: 'c', state: 'RUNNING' })
  t.hear('current', {})
  assert.deepEqual(p.got.at(-1), { key: 'runs', op: 'state', items: [{ id: 'c', state: 'RUNNING' }], current: true })
  clearTimeout(t.timer)
})

test('the queue is one thing, schedules are by name and not bounded', () => {
  const queue = new StateTopic('queue'), schedules = new StateTopic('schedules'), p = port()
  queue.join(p)
  queue.hear('queue', { lines: [], revision: '1' })
  queue.hear('current', {})
  queue.hear('queue', { lines: [{ pool: 'a' }], revision: '2' })
  queue.flush()
  assert.deepEqual(p.got.at(-1).items, [{ lines: [{ pool: 'a' }], revision: '2' }])
  for (let i = 0; i < 4000; i++) schedules.hear('schedule', { name: 's' + i })
  schedules.hear('schedule', { name: 's1', gone: true })
  assert.equal(schedules.items.size, 3999)
  clearTimeout(queue.timer)
})

test('runs that are kept are bounded, runners are not', () => {
  const runs = new StateTopic('runs'), fleet = new StateTopic('fleet')
  for (let i = 0; i < 4000; i++) { runs.hear('run', { id: 'r' + i }); fleet.hear('runner', { name: 'n' + i }) }
  assert.equal(runs.items.size, 3000)
  assert.ok(runs.items.has('r3999'))
  assert.equal(fleet.items.size, 4000)
})

// A gateway whose answers to the stream's requests are given here.
function gateway() {
  const asked = []
  globalThis.fetch = (url, { headers, signal }) => new Promise((answer, bad) => {
    const topics = new URL(url, 'http://gateway.test').searchParams.get('topics').split(',')
    const one = { topics, last: headers['Last-Event-ID'] || '', signal }
    one.open = () => { answer(new Response(new ReadableStream({ start(c) { one.send = text => c.enqueue(new TextEncoder().encode(text)); one.end = () => c.close() } }))) }
    one.refuse = (status, error) => answer(new Response(JSON.stringify({ error }), { status }))
    signal.addEventListener('abort', () => bad(new DOMException('aborted', 'AbortError')))
    asked.push(one)
  })
  return asked
}
const tick = () => new Promise(done => setTimeout(done, 5))
async function until(f) { for (const end = Date.now() + 60e3; !f();) { if (Date.now() > end) throw new Error('in vain: ' + f); await tick() } }
const teller = () => { const said = []; return { said, up: () => said.push('up'), cut: () => said.push('cut'), refused: (s, w) => said.push(`refused ${s} ${w}`) } }
const topic = (key, place = '') => ({ key, heard: [], sent: [], place: at => at || place, hear(kind, data) { this.heard.push([kind, data]) }, send(m) { this.sent.push(m) }, refused(s, w) { this.sent.push(`refused ${s} ${w}`) } })

test('one connection for all topics; another topic is another connection that goes on', async () => {
  const asked = gateway(), tell = teller(), s = new Stream(tell)
  const fleet = topic('fleet'), runs = topic('runs')
  s.add(fleet)
  s.add(runs)
  await until(() => asked.length === 1)
  assert.deepEqual(asked[0].topics, ['fleet', 'runs'])
  asked[0].open()
  await until(() => asked[0].send)
  asked[0].send('id: fleet=7,runs=9\nevent: runner\ndata: {"name":"a"}\n\n')
  await until(() => fleet.heard.length === 1)
  assert.deepEqual(fleet.heard, [['runner', { name: 'a' }]])
  const log = topic('log:x', '3.1')
  s.add(log)
  await until(() => asked.length === 2)
  assert.deepEqual(asked[1].topics.sort(), ['fleet', 'log:x', 'runs'])
  assert.deepEqual(asked[1].last.split(',').sort(), ['fleet=7', 'log:x=3.1', 'runs=9'])
  // The one before is heard until the new one answers.
  asked[0].send('event: run\ndata: {"id":"r"}\n\n')
  await until(() => runs.heard.length === 1)
  asked[1].open()
  await until(() => asked[0].signal.aborted)
  await until(() => asked[1].send)
  asked[1].send('event: log\ndata: {"run":"x"}\n\nevent: end\ndata: {"run":"x"}\n\n')
  await until(() => log.heard.length === 2)
  s.end()
})

test('each event goes to its topic', async () => {
  const asked = gateway(), s = new Stream(teller())
  const all = Object.fromEntries(['fleet', 'runs', 'jobs', 'job:j', 'queue', 'schedules', 'log:l'].map(k => [k, topic(k)]))
  for (const t of Object.values(all)) s.add(t)
  await until(() => asked.length === 1)
  asked[0].open()
  await until(() => asked[0].send)
  const of = (kind, data) => `event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`
  asked[0].send(of('runner', { name: 'a' }) + of('run', { id: 'r' }) + of('job', { id: 'j' }) + of('queue', { lines: [] }) + of('schedule', { name: 'n' }) + of('log', { run: 'l' }) + of('end', { run: 'l' }) + of('current', { topic: 'queue' }) + of('reset', { topic: 'jobs' }) + of('what', {}) + of('reset', {}))
  await until(() => all['log:l'].heard.length === 3)
  assert.deepEqual(Object.fromEntries(Object.entries(all).map(([k, t]) => [k, t.heard.map(h => h[0]).join()])), {
    fleet: 'runner,reset', runs: 'run,reset', jobs: 'job,reset,reset', 'job:j': 'job,reset', queue: 'queue,current,reset', schedules: 'schedule,reset', 'log:l': 'log,end,reset' })
  s.end()
})

test('cut off: it is said, and tried again where it was', async () => {
  const asked = gateway(), tell = teller(), s = new Stream(tell)
  s.add(topic('runs'))
  await until(() => asked.length === 1)
  asked[0].refuse(503, 'shutting down')
  await until(() => tell.said.includes('cut'))
  s.hurry()
  await until(() => asked.length === 2)
  asked[1].open()
  await until(() => tell.said.at(-1) === 'up')
  asked[1].end() // as when a gateway stops
  await until(() => asked.length === 3)
  s.end()
})

test('a topic that is refused goes, the others stay; nobody let in is told to all', async () => {
  const asked = gateway(), tell = teller(), s = new Stream(tell)
  const runs = topic('runs')
  s.add(runs)
  await until(() => asked.length === 1)
  asked[0].open()
  await until(() => tell.said.includes('up'))
  const bad = topic('log:bad')
  s.add(bad)
  await until(() => asked.length === 2)
  asked[1].refuse(400, 'no such log')
  await until(() => asked.length === 3)
  assert.deepEqual(bad.sent, ['refused 400 no such log'])
  assert.deepEqual(asked[2].topics, ['runs'])
  assert.deepEqual(runs.sent, [])
  asked[2].refuse(401, 'token is expired')
  await until(() => runs.sent.length)
  assert.ok(tell.said.includes('refused 401 token is expired'))
  s.renew()
  await until(() => asked.length === 4)
  asked[3].open()
  await until(() => runs.sent.length === 2)
  assert.deepEqual(runs.sent[1], { op: 'let in' })
  s.end()
})

test('it rests while nobody looks', async () => {
  const asked = gateway(), s = new Stream(teller())
  s.add(topic('runs'))
  await until(() => asked.length === 1)
  asked[0].open()
  await until(() => asked[0].send)
  s.rest(true)
  assert.ok(asked[0].signal.aborted)
  s.add(topic('fleet'))
  await new Promise(done => setTimeout(done, 300))
  assert.equal(asked.length, 1)
  s.rest(false)
  await until(() => asked.length === 2)
  assert.deepEqual(asked[1].topics.sort(), ['fleet', 'runs'])
  s.end()
})
