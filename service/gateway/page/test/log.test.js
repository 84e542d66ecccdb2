// What a log's view is made of: places of matches, lines to fetch, marks of the rail, and the model.
import { ports, say } from './setup.js'
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'

const { Hits, firstOf } = await import('../src/hits.js')
const { lack } = await import('../src/lack.js')
const { marksOf } = await import('../src/rail.js')
const { LogModel } = await import('../src/logmodel.js')

test('matches: the line of each, which of its line, and the first from a line on', () => {
  const hits = new Hits()
  assert.equal(hits.size, 0)
  assert.equal(hits.from(5), 0)
  hits.add(10, 2)
  hits.add(11)
  hits.add(500, 3)
  assert.equal(hits.size, 6)
  assert.deepEqual([0, 1, 2, 3, 4, 5].map(i => hits.at(i)), [
    { line: 10, nth: 0 }, { line: 10, nth: 1 }, { line: 11, nth: 0 }, { line: 500, nth: 0 }, { line: 500, nth: 1 }, { line: 500, nth: 2 }])
  assert.deepEqual([1, 10, 11, 12, 500, 501].map(n => hits.from(n)), [0, 0, 2, 3, 3, 0])
})

test('where something begins to hold', () => {
  assert.equal(firstOf([], () => true), 0)
  assert.equal(firstOf([1, 2, 3], x => x >= 2), 1)
  assert.equal(firstOf([1, 2, 3], x => x >= 9), 3)
})

const missing = (from, to, have, more = {}) => lack({ from, to, first: 1, next: 1001, most: 100, up: false, has: n => have.has(n), ...more })
const span = (a, b) => new Set(Array.from({ length: b - a + 1 }, (_, i) => a + i))

test('nothing is fetched that is there', () => {
  assert.equal(missing(10, 50, span(1, 60)), null)
  assert.equal(missing(-50, 0, new Set()), null)
  assert.equal(missing(1001, 1100, new Set()), null)
})

test('what is fetched has more in the direction in which one goes', () => {
  assert.deepEqual(missing(500, 539, new Set()), { from: 493, limit: 100 })
  assert.deepEqual(missing(500, 539, new Set(), { up: true }), { from: 447, limit: 100 })
  assert.deepEqual(missing(500, 539, span(400, 519)), { from: 520, limit: 100 })
  assert.deepEqual(missing(500, 539, span(520, 700), { up: true }), { from: 420, limit: 100 })
  assert.deepEqual(missing(1, 20, new Set(), { up: true }), { from: 1, limit: 100 })
  assert.deepEqual(missing(990, 1000, new Set()), { from: 901, limit: 100 })
  assert.deepEqual(missing(1, 500, new Set()), { from: 1, limit: 100 })
  assert.deepEqual(missing(1, 500, new Set(), { up: true }), { from: 401, limit: 100 })
})

test('whatever is there, what is fetched begins the hole that is seen, and comes to an end', () => {
  let seed = 3
  const next = n => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % n }
  for (let i = 0; i < 2000; i++) {
    const have = new Set()
    for (let k = next(6); k > 0; k--) { const a = 1 + next(300); for (let n = a; n < a + next(60); n++) have.add(n) }
    const from = next(320) - 10, to = from + next(80), up = !!next(2), most = 20 + next(60)
    let rounds = 0
    for (let got; (got = lack({ from, to, first: 1, next: 301, most, up, has: n => have.has(n) })); rounds++) {
      assert.ok(got.limit >= 1 && got.limit <= most && got.from >= 1 && got.from + got.limit <= 301, JSON.stringify(got))
      const before = have.size
      for (let n = got.from; n < got.from + got.limit; n++) have.add(n)
      assert.ok(have.size > before)
      assert.ok(rounds < 80)
    }
    for (let n = Math.max(1, from); n <= Math.min(300, to); n++) assert.ok(have.has(n))
  }
})

test('marks: one for all rows of a place, none outside', () => {
  assert.equal(marksOf([], 100, 2), '')
  assert.equal(marksOf([0, 0, 50], 100, 2), 'M2 0h4v3h-4zM2 500h4v3h-4z')
  assert.equal(marksOf([5000], 100, 7), 'M7 1000h4v3h-4z')
  assert.equal(marksOf([1], 0, 7), 'M7 1000h4v3h-4z')
  assert.ok(marksOf(Array.from({ length: 20000 }, (_, i) => i), 20000, 2).length < 20000)
})

// The model, with a log of a server that is made here.
let asked
const log = (lines, { first = 1, next = lines.length + 1, at = '9.9', bytes = [0, 0], end } = {}) => url => {
  const q = new URL(url, 'http://gateway.test').searchParams
  let some = lines.filter(l => !q.get('stream') || l.s === q.get('stream'))
  if (q.get('tail')) some = some.slice(-Number(q.get('tail')))
  else some = some.filter(l => l.n >= Number(q.get('from'))).slice(0, Number(q.get('limit')))
  return { first, next, at, bytes, end, lines: some }
}
const numbered = (n, more = () => ({})) => Array.from({ length: n }, (_, i) => ({ n: i + 1, t: '0', text: 'line ' + (i + 1), ...more(i + 1) }))
function serve(answer) {
  asked = []
  globalThis.fetch = async url => { asked.push(url); return new Response(JSON.stringify(answer(url))) }
}
const settle = () => new Promise(done => setImmediate(() => setImmediate(done)))
async function until(f) { while (!f()) await settle() }

let told
async function opened(answer, id = 'r1') {
  serve(answer)
  told = 0
  const m = new LogModel(id, () => { told++ })
  m.open()
  await until(() => m.ready)
  return m
}
beforeEach(() => { if (ports[0]) ports[0].sent.length = 0 })
const records = (...all) => say({ key: 'log:r1', op: 'records', records: all, last: Math.max(...all.map(r => r.pos)), left: 0 })
const rec = (pos, message, more = {}) => ({ pos, message, time: '0', stream: 'stdout', at: '1.' + pos, ...more })

test('a short log that goes on is followed from its first record, a long one from behind what was read', async () => {
  let m = await opened(log(numbered(3)))
  assert.deepEqual(ports[0].sent.map(s => [s.op, s.at]), [['join', undefined], ['start', '']])
  m.close()
  ports[0].sent.length = 0
  m = await opened(log(numbered(5000), { bytes: [9e6, 0] }))
  assert.equal(ports[0].sent.find(s => s.op === 'start').at, '9.9')
  assert.equal(m.count, 5000)
  assert.equal(m.line(5000).text, 'line 5000')
  assert.equal(m.line(1), undefined)
  m.close()
})

test('a place is fetched with what is around it, once, and then what is ahead', async () => {
  const m = await opened(log(numbered(5000), { bytes: [9e6, 0] }))
  m.need(2000, 2040)
  await until(() => m.lines.has(2001) && !m.fetching)
  assert.equal(m.line(2001).text, 'line 2001')
  for (let n = 1901; n <= 2141; n++) assert.ok(m.lines.has(n), String(n))
  const before = asked.length
  m.need(2001, 2041)
  await settle()
  assert.equal(asked.length, before)
  m.close()
})

test('numbers that the server has no line for are known as none', async () => {
  const m = await opened(log(numbered(5000).filter(l => l.n < 2010 || l.n > 2020), { next: 5001, bytes: [9e6, 0] }))
  m.need(2000, 2040)
  await until(() => !m.fetching && m.lines.has(2015))
  assert.equal(m.line(2015).nothing, true)
  m.close()
})

test('a refusal is told, and it is tried again', async () => {
  const m = await opened(log(numbered(5000), { bytes: [9e6, 0] }))
  globalThis.fetch = async () => new Response('{"error":"no"}', { status: 503 })
  m.need(10, 40)
  await until(() => m.error)
  assert.equal(m.error.message, 'no')
  serve(log(numbered(5000), { bytes: [9e6, 0] }))
  await new Promise(done => setTimeout(done, 1100))
  await until(() => m.lines.has(11))
  assert.equal(m.error, null)
  m.close()
})

test('records: pieces of a line are one, what was read already is not taken twice', async () => {
  const m = await opened(log(numbered(2, n => ({ at: '1.' + n }))))
  records(rec(1, 'line 1'), rec(2, 'line 2'), rec(3, 'a', { tag: 'BOL' }))
  records(rec(3, 'b', { tag: 'BOL', at: '2.1' }), rec(4, 'other', { stream: 'stderr', at: '2.2' }), rec(3, 'c', { at: '2.3' }))
  records(rec(3, 'c', { at: '2.3' }))
  assert.deepEqual([1, 2, 3, 4].map(n => m.line(n).parsed.text), ['line 1', 'line 2', 'abc', 'other'])
  assert.equal(m.line(3).open, false)
  assert.equal(m.count, 4)
  assert.deepEqual([...m.errs], [4])
  m.close()
})

test('a gap, and a piece whose beginning is not here', async () => {
  const m = await opened(log(numbered(5000), { bytes: [9e6, 0] }))
  records(rec(5001, '', { tag: 'GAP', lines: 10, bytes: 300, at: '10.1' }), rec(5011, 'after', { at: '10.2' }), rec(3, 'late', { at: '10.3' }))
  assert.deepEqual(m.line(5001).gap, { lines: 10, bytes: 300 })
  assert.equal(m.line(5011).text, 'after')
  assert.equal(m.line(3), undefined)
  assert.equal(m.next, 5012)
  m.close()
})

test('the longest of lines keeps its beginning, one that rewrites itself its end', async () => {
  const m = await opened(log([]))
  records(rec(1, 'x'.repeat(5000), { tag: 'BOL' }))
  records(rec(1, 'y'.repeat(5000), { tag: 'BOL', at: '1.2' }))
  records(rec(1, 'z'.repeat(10), { at: '1.3' }))
  assert.equal(m.line(1).text, 'x'.repeat(4096))
  assert.equal(m.line(1).cut, 5904 + 10)
  records(rec(2, '1 %\r'.repeat(3000), { tag: 'BOL', at: '2.1' }))
  records(rec(2, '99 %\r', { at: '2.2' }))
  assert.ok(m.line(2).text.length < 4096, String(m.line(2).text.length))
  assert.match(m.line(2).text, /99 %\r$/)
  assert.equal(m.line(2).cr + m.line(2).parsed.rewritten, 3001)
  m.close()
})

test('the end: verified, not the same, without its beginning, without an end', async () => {
  const end = { tag: 'EOF', pos: 3, sha256: 'abc', lines: 2, state: 'COMPLETE' }
  const said = async (sum, answer = log(numbered(2))) => {
    const m = await opened(answer)
    say({ key: 'log:r1', op: 'end', record: end, sum })
    m.close()
    return m.sum.state
  }
  assert.equal(await said({ sha256: 'abc', bytes: 5 }), 'verified')
  assert.equal(await said({ sha256: 'abd', bytes: 5 }), 'differs')
  assert.equal(await said(undefined), 'unknown')
  assert.equal(await said({ sha256: 'abd', bytes: 5 }, log(numbered(2), { first: 2 })), 'unknown')
  const m = await opened(log(numbered(2)))
  say({ key: 'log:r1', op: 'end' })
  assert.equal(m.lost, true)
  m.check()
  assert.equal(m.sum.state, 'checking')
  say({ key: 'log:r1', op: 'checking', bytes: 7 })
  assert.equal(m.sum.bytes, 7)
  say({ key: 'log:r1', op: 'checked', error: 'cut off' })
  assert.deepEqual([m.sum.state, m.sum.error], ['unknown', 'cut off'])
  m.close()
})

test('refused, let in, reset, and what was said before it was ready', async () => {
  serve(log(numbered(2)))
  const m = new LogModel('r1', () => {})
  m.open()
  records(rec(3, 'early'))
  assert.equal(m.lines.size, 0)
  await until(() => m.ready)
  assert.equal(m.line(3).text, 'early')
  say({ key: 'log:r1', op: 'refused', status: 403, words: 'it needs scope read' })
  assert.equal(m.error.message, 'it needs scope read')
  say({ key: 'log:r1', op: 'let in' })
  assert.equal(m.error, null)
  say({ key: 'log:r1', op: 'reset' })
  assert.equal(m.lines.size, 0)
  m.close()
  say({ key: 'log:r1', op: 'refused', status: 403, words: 'nobody hears this' })
  assert.equal(m.error, null)
})

test('what is kept is bounded, and what is seen is kept', async () => {
  const m = await opened(log(numbered(10)))
  m.wanted = [0, 40]
  for (let from = 11; from < 60000; from += 1000) records(...Array.from({ length: 1000 }, (_, i) => rec(from + i, 'x', { at: `${from}.${i}` })))
  assert.ok(m.lines.size <= 20000, String(m.lines.size))
  for (let n = 1; n <= 40; n++) assert.ok(m.lines.has(n), String(n))
  assert.ok(m.lines.has(m.next - 1))
  m.close()
})

test('standard error alone has the log’s own numbers', async () => {
  const m = await opened(log(numbered(3000, n => (n % 3 ? {} : { s: 'stderr' }))))
  await m.onlyErrors(true)
  assert.equal(m.count, 1000)
  assert.equal(m.numberAt(1), 6)
  assert.equal(m.rowOf(6), 1)
  assert.equal(m.rowOf(7), 2)
  assert.equal(m.rowOf(99999), 999)
  records(rec(3001, 'late', { stream: 'stderr' }))
  assert.equal(m.count, 1001)
  await m.onlyErrors(false)
  assert.equal(m.count, 3001)
  m.close()
})
