// Pure functions: times, command lines, schedules, filters, links.
import './setup.js'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'

const time = await import('../src/time.js')
const command = await import('../src/command.js')
const rules = await import('../src/rules.js')
const { linkOf, programOf, tidy } = await import('../src/playlink.js')
const { SHA256 } = await import('../src/sha256.js')
const { readEvents } = await import('../src/sse.js')
const { query } = await import('../src/api.js')

const table = (name, f, rows) => test(name, () => { for (const [input, want] of rows) assert.deepEqual(f(...[].concat(input)), want, JSON.stringify(input)) })

table('durations', time.duration, [[-5, '0 ms'], [0, '0 ms'], [94, '94 ms'], [95, '0.1s'], [1234, '1.2s'], [29999, '30.0s'], [30e3, '30s'], [59.4e3, '59s'], [59.6e3, '1m 00s'], [61e3, '1m 01s'], [3599e3, '59m 59s'], [3600e3, '1h 00m'], [90000e3, '1d 1h']])
table('ages', time.age, [[-1, '0s'], [0, '0s'], [59999, '59s'], [60e3, '1m'], [3599e3, '59m'], [3600e3, '1h'], [86400e3, '1d']])
table('numbers', time.group, [[0, '0'], [999, '999'], [1000, '1,000'], [1234567, '1,234,567'], [12.7, '12']])
table('sizes', time.bytes, [[0, '0 B'], [999, '999 B'], [1000, '1.0 kB'], [1234567, '1.2 MB'], [12e6, '12 MB'], [999.6e3, '1.0 MB'], [5e13, '50 TB']])
table('times of RFC 3339', time.millis, [['', 0], [undefined, 0], ['0001-01-01T00:00:00Z', 0], ['2026-01-01T00:00:00Z', Date.UTC(2026, 0, 1)], ['nonsense', 0]])
table('signs', time.signed, [[3, '+3'], [-3, '−3'], [0, '+0']])

table('words of a shell', command.quote, [['plain', 'plain'], ['a b', "'a b'"], ["it's", `'it'\\''s'`], ['', "''"], ['$HOME', "'$HOME'"], ['a=b,c:/d@e%f+g.h-i', 'a=b,c:/d@e%f+g.h-i']])
table('a line as a shell splits it', command.words, [
  ['', []], ['a b', ['a', 'b']], ["'a b' c", ['a b', 'c']], ['"a \\"b\\""', ['a "b"']], ["''", ['']], ['a\\ b', ['a b']], ["'open", null], ['"a', null], ["a'b'c", ['abc']], [' \t a ', ['a']], [String.raw`"\n"`, ['\\n']],
])
test('what is quoted is split again as it was', () => {
  for (const s of ['', "'", '"', '\\', 'a b', "a'b\"c\\d", '$x `y`', 'ü', '\t', '*?[', '-n']) assert.deepEqual(command.words(command.quote(s)), [s])
})

const form = change => ({ ...command.fresh, ...change })
test('a form as a request, as a command line and as a message', () => {
  const f = form({ command: 'df -h', to: 'pool', pool: 'web', all: true, name: 'disk', timeout: '5s', memory: '1G', params: 'A=1\nB=x y\n', tags: 'team=a' })
  assert.deepEqual(command.bodyOf(f), { command: 'df -h', name: 'disk', timeout: '5s', limits: { memoryMax: '1G' }, params: [{ name: 'A', value: '1' }, { name: 'B', value: 'x y' }], tags: { team: 'a' }, target: { pool: 'web', all: true } })
  assert.equal(command.commandOf(f), "runnel run --pool web --all --name disk --timeout 5s --memory 1G --param A=1 --param 'B=x y' --tag team=a -- bash -c 'df -h'")
  assert.match(command.natsOf(f), /^nats req --no-templates runner\.task\.all\.web '\{"kind":"runner"/)
  assert.equal(command.commandOf(form({ kind: 'argv', argv: "ls 'a b'", to: 'on', on: 'web1', all: true })), "runnel run --on web1 -- ls 'a b'")
  assert.equal(command.commandOf(form({ kind: 'script', script: 'x' })), 'runnel run --script script.sh')
  assert.equal(command.commandOf(form({})), "runnel run -- bash -c '…'")
  assert.match(command.natsOf(form({ command: 'x', to: 'where', where: 'cpus > 8' })), /-H 'Runner-Where:cpus > 8' runner\.task\.any /)
  const script = command.natsOf(form({ kind: 'script', script: '#!/bin/bash\necho ü\n' }))
  assert.equal(Buffer.from(JSON.parse(/'(\{.*\})'$/.exec(script)[1]).spec.task.file.content, 'base64').toString(), '#!/bin/bash\necho ü\n')
})

table('rules as people say them', cron => rules.ruleOf({ cron }), [
  ['0 3 * * *', '03:00 daily'], ['*/5 * * * *', 'every 5 minutes'], ['* * * * *', 'every minute'], ['7 * * * *', 'hourly at :07'], ['30 4 * * 1', 'Mon 04:30'], ['0 9 * * 1-5', 'Mon to Fri 09:00'], ['0 9 * * 1,7', 'Mon, Sun 09:00'],
  ['0 0 1 * *', 'day 1 of the month, 00:00'], ['0 0 1 1 *', '0 0 1 1 *'], ['0 0 3 * * *', '0 0 3 * * *'], ['@daily', '@daily'], ['5,10 * * * *', '5,10 * * * *'], ['0 */2 * * *', '0 */2 * * *'],
])
test('other rules, where and what', () => {
  assert.equal(rules.ruleOf({ every: '10m' }), 'every 10m')
  assert.equal(rules.ruleOf({ at: '2026-11-26T03:00:00Z' }), 'once, 26 Nov 03:00')
  assert.equal(rules.ruleOf({ cron: '0 3 * * *', tz: 'Europe/Berlin' }), '03:00 daily Europe/Berlin')
  assert.equal(rules.whereOf({}), 'one of default')
  assert.equal(rules.whereOf({ all: true }), 'all runners')
  assert.equal(rules.whereOf({ all: true, where: 'cpus > 8' }), 'all where cpus > 8')
  assert.equal(rules.whereOf({ all: true, on: ['a', 'b'] }), 'all of a, b')
  assert.equal(rules.whereOf({ pipeline: 'p' }), 'the engine')
  assert.equal(rules.whatOf({ pipeline: 'p' }), 'pipeline p')
  assert.equal(rules.whatOf({ task: { argv: ['echo', 'a b'] } }), "echo 'a b'")
  assert.equal(rules.whatOf({ task: { commands: ['a', 'b'] } }), 'a; b')
  assert.equal(rules.whatOf({ task: { name: 'n', argv: ['x'] } }), 'n')
  assert.equal(rules.whatOf({ task: { language: { name: 'go' } } }), 'a program in go')
  assert.equal(rules.whatOf({ task: { file: {} } }), 'a script')
  assert.equal(rules.whatOf({}), '')
})

test('times where a schedule’s clock stands', () => {
  const t = Date.UTC(2026, 10, 26, 2, 0)
  assert.equal(rules.zoned(t, 'Europe/Berlin'), '26 Nov 03:00')
  assert.equal(rules.zoned(t, 'UTC'), '26 Nov 02:00')
  assert.equal(rules.zoned(t, ''), '26 Nov 02:00')
  assert.equal(rules.zoned(t, 'Mars/Olympus'), '26 Nov 02:00')
  assert.equal(rules.zoned(Date.UTC(2026, 5, 1, 22, 30), 'Asia/Kolkata'), '2 Jun 04:00')
})

const schedule = change => ({ ...rules.freshSchedule, ...change })
test('a schedule’s form as a request and as a command line', () => {
  const f = schedule({ name: ' nightly ', cron: '0 3 * * *', tz: 'Europe/Berlin', command: "echo 'hi'", pool: 'web', overlap: 'allow', timeout: '5m' })
  assert.deepEqual(rules.scheduleOf(f), { name: 'nightly', cron: '0 3 * * *', tz: 'Europe/Berlin', pool: 'web', overlap: 'allow', task: { commands: ["echo 'hi'"], timeout: '5m' } })
  assert.equal(rules.scheduleCommand(f), `runnel schedule add nightly --cron '0 3 * * *' --tz Europe/Berlin --pool web --overlap allow --timeout 5m -c 'echo '\\''hi'\\'''`)
  assert.deepEqual(rules.scheduleOf(schedule({ name: 'a', when: 'every', every: '5m', kind: 'argv', argv: 'df -h', all: true, where: 'cpus > 1' })), { name: 'a', every: '5m', all: true, where: 'cpus > 1', task: { argv: ['df', '-h'] } })
  assert.equal(rules.scheduleOf(schedule({ when: 'at', at: '2030-01-01T10:00' })).at, '2030-01-01T10:00:00Z')
  assert.equal(rules.scheduleOf(schedule({ when: 'at' })).at, undefined)
  assert.match(rules.scheduleCommand(schedule({ when: 'every', kind: 'argv', argv: 'df -h' })), /^runnel schedule add NAME --every 1h -- df -h$/)
})

test('a change of a schedule keeps what the form does not have', () => {
  const was = { name: 'x', cron: '@hourly', all: true, on: ['a'], until: '2030-01-01T00:00:00Z', revision: 7, by: 'ada', where: '', over: false, next: ['2026-01-01T00:00:00Z'], task: { file: { content: 'eA==' }, tags: { a: 'b' }, timeout: '5m', limits: { memoryMax: '1G' }, stdin: '', params: [], network: false, argv: [] } }
  const f = rules.formOf(was)
  assert.deepEqual([f.kind, f.when, f.cron, f.timeout], ['kept', 'cron', '@hourly', '5m'])
  assert.deepEqual(rules.scheduleOf({ ...f, timeout: '' }, was), { name: 'x', cron: '@hourly', all: true, on: ['a'], until: '2030-01-01T00:00:00Z', revision: 7, task: { file: { content: 'eA==' }, tags: { a: 'b' }, limits: { memoryMax: '1G' } } })
  const other = rules.scheduleOf({ ...f, kind: 'command', command: 'true', all: false, when: 'every', every: '1h' }, was)
  assert.deepEqual([other.task.file, other.task.commands, other.on, other.cron, other.every], [undefined, ['true'], undefined, undefined, '1h'])
  assert.equal(rules.formOf({ name: 'y', every: '5m', task: { argv: ['echo', 'a b'] } }).argv, "echo 'a b'")
  assert.equal(rules.formOf({ name: 'y', at: '2030-01-01T10:00:00Z', task: { commands: ['x'] } }).at, '2030-01-01T10:00')
})

test('a program survives its link, and what strangers put in one is tidied', async () => {
  const p = { language: 'go', version: '', files: [{ name: 'a', text: 'ü😀\n'.repeat(500) }], stdin: 'x', args: '', time: '5s', memory: '' }
  const link = await linkOf(p)
  assert.match(link, /^#p=[\w-]+$/)
  assert.ok(link.length < 300)
  assert.deepEqual(await programOf(link), p)
  assert.equal(await programOf('#L5'), null)
  for (const bad of ['#p=', '#p=!!!', link.slice(0, -20)]) await assert.rejects(programOf(bad), /cut short/)
  await assert.rejects(linkOf({ files: [{ text: 'x'.repeat(300e3) }] }), /too long/)
  assert.deepEqual(tidy({ files: [null, 5, { text: 5 }, { name: 7, text: 'x' }], language: ['x'] }), { language: '', version: '', files: [{ name: '', text: 'x' }], stdin: '', args: '', time: '', memory: '' })
  assert.equal(tidy(null).files.length, 0)
})

test('SHA-256 of pieces is that of the whole', () => {
  for (const n of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 70001]) {
    const all = Buffer.alloc(n, i => i).map((_, i) => (i * 7) & 255)
    for (const step of [1, 13, 64, 1000].filter(s => n / s < 3000)) {
      const sum = new SHA256()
      for (let i = 0; i < n; i += step) sum.update(all.subarray(i, i + step))
      assert.equal(sum.bytes, n)
      assert.equal(sum.hex(), createHash('sha256').update(all).digest('hex'), `${n} by ${step}`)
    }
  }
})

const stream = parts => new Response(new ReadableStream({ start(c) { for (const p of parts) c.enqueue(new TextEncoder().encode(p)); c.close() } }))
async function events(...parts) {
  const got = [], places = []
  let beats = 0
  await readEvents(stream(parts), e => got.push([e.kind, e.id, e.data]), { beat: () => beats++, place: id => places.push(id) })
  return { got, places, beats }
}
test('events, however they are cut', async () => {
  const text = 'event: log\nid: a=1\ndata: {"x":1}\n\n: beat\n\nid: a=2\n\ndata: one\ndata: two\n\nevent: end\r\ndata: \r\n\r\n'
  const want = [['log', 'a=1', '{"x":1}'], ['message', 'a=2', 'one\ntwo'], ['end', 'a=2', '']]
  for (const size of [1, 2, 3, 7, 1000]) {
    const parts = []
    for (let i = 0; i < text.length; i += size) parts.push(text.slice(i, i + size))
    const { got, places } = await events(...parts)
    assert.deepEqual(got, want, String(size))
    assert.equal(places.at(-1), 'a=2')
  }
  assert.deepEqual((await events('data: is not done')).got, [])
})
test('a stream on which nothing comes is given up', async () => {
  const silent = new Response(new ReadableStream({ start() {} }))
  await assert.rejects(readEvents(silent, () => {}, { quiet: 20 }), /nothing came for 0.02 s/)
})

table('what is asked', query, [[{}, ''], [{ a: '', b: null, c: undefined }, ''], [{ a: 0, b: 'x y' }, '?a=0&b=x+y']])
