// One for all tabs: it holds the streams of events, goes on where they were cut, hashes logs, and
// gives each tab what it shows. Where there is no SharedWorker each tab has one of its own.
import { readEvents } from './sse.js'
import { SHA256 } from './sha256.js'

const batchTime = 50      // ms that records wait for others
const batchMost = 1000    // records given at once; what is before them is there to be fetched
const ports = new Set()
const topics = new Map()  // by key: Topic

const link = { state: 'connecting', since: 0, next: 0, gone: 0 }
function setLink(change) {
  const was = JSON.stringify(link)
  Object.assign(link, change)
  if (JSON.stringify(link) !== was) for (const p of ports) p.postMessage({ op: 'link', link: { ...link } })
}
const broken = new Set()
function down(topic, next) {
  broken.add(topic)
  setLink({ state: 'cut', since: link.state === 'cut' ? link.since : Date.now(), next })
}
function up(topic) {
  broken.delete(topic)
  if (link.state === 'live' || broken.size) return
  if (link.state !== 'cut') return setLink({ state: 'live', next: 0 })
  setLink({ state: 'back', gone: Date.now() - link.since, next: 0 })
  setTimeout(() => { if (link.state === 'back') setLink({ state: 'live' }) }, 5000)
}

class Topic {
  constructor(key) { this.key = key; this.users = new Set(); this.wait = 0; this.begun = false }
  send(message) { for (const p of this.users) p.postMessage({ key: this.key, ...message }) }

  async run() {
    this.begun = true
    const stop = this.stop = new AbortController()
    while (!stop.signal.aborted) {
      let problem
      try {
        if (await this.read()) break
      } catch (err) { problem = err }
      if (stop.signal.aborted) return
      if (problem?.status === 401 || problem?.status === 403 || problem?.status === 404) {
        this.send({ op: 'refused', status: problem.status, words: problem.message })
        break
      }
      // A stream that only ended, as when the gateway stops, is opened again at once.
      this.wait = problem ? Math.min(this.wait * 2 || 500, 8000) : 100
      if (problem) down(this, Date.now() + this.wait)
      await new Promise(done => { this.hurry = done; setTimeout(done, this.wait) })
    }
    broken.delete(this)
    if (!broken.size && link.state === 'cut') up(this)
  }

  async open(path, last) {
    const res = await fetch(path, { signal: this.stop.signal, cache: 'no-store', headers: last ? { 'Last-Event-ID': last } : {} })
    if (res.ok) return res
    const err = new Error((await res.json().catch(() => ({}))).error || 'status ' + res.status)
    err.status = res.status
    throw err
  }

  end() { this.stop?.abort(); this.hurry?.(); broken.delete(this); topics.delete(this.key) }
}

// the bytes of a record
const encoder = new TextEncoder()
function bytesOf(r) {
  if (r.raw === undefined) return encoder.encode(r.message ?? '')
  const s = atob(r.raw), b = new Uint8Array(s.length)
  for (let i = 0; i < s.length; i++) b[i] = s.charCodeAt(i)
  return b
}

const newline = new Uint8Array([10])

// LogTopic follows a run's log. It hashes what it gets when it has it from its first record.
class LogTopic extends Topic {
  constructor(key) { super(key); this.id = key.slice(4); this.at = ''; this.pending = []; this.left = 0; this.last = 0 }

  start(at) {
    this.at = at
    this.sum = at === '' ? new SHA256() : null
    this.run()
  }

  async read() {
    const res = await this.open(`/api/v1/runs/${encodeURIComponent(this.id)}/events`, this.at)
    this.wait = 0
    up(this)
    if (res.status === 204) { this.finish(null); return true }
    let ended = false
    await readEvents(res, e => {
      if (e.kind === 'reset') {
        this.pending = []
        this.sum = new SHA256()
        this.send({ op: 'reset' })
        return
      }
      const r = JSON.parse(e.data)
      if (e.kind === 'end') { ended = true; this.at = e.id; this.finish(r); return }
      r.at = this.at = e.id
      this.add(r)
    }, { beat: () => up(this) })
    return ended
  }

  add(r) {
    if (r.tag !== 'GAP' && this.sum) {
      this.sum.update(bytesOf(r))
      if (r.tag !== 'BOL') this.sum.update(newline)
    }
    this.last = Math.max(this.last, r.pos + (r.tag === 'GAP' ? (r.lines || 0) - 1 : 0))
    this.pending.push(r)
    if (this.pending.length > 2 * batchMost) { this.left += batchMost; this.pending.splice(0, batchMost) }
    this.timer ||= setTimeout(() => this.flush(), batchTime)
  }

  flush() {
    clearTimeout(this.timer)
    this.timer = 0
    if (!this.pending.length) return
    const most = this.pending.length - batchMost
    if (most > 0) { this.left += most; this.pending.splice(0, most) }
    this.send({ op: 'records', records: this.pending, left: this.left, last: this.last, at: this.at })
    this.pending = []
    this.left = 0
  }

  finish(record) {
    this.flush()
    this.over = true
    this.ended = { op: 'end', record, at: this.at, sum: this.sum && { sha256: this.sum.hex(), bytes: this.sum.bytes } }
    this.send(this.ended)
  }
}

// States follows the fleet, the runs and the jobs by one stream for all tabs. It keeps what each
// topic is like, so that a tab that joins has it at once.
const mostKept = 3000
const keyOf = { runner: 'name', run: 'id', job: 'id' }
class States extends Topic {
  constructor() { super('states'); this.topics = new Map(); this.last = '' }

  join(port, key) {
    let t = this.topics.get(key)
    if (!t) {
      this.topics.set(key, t = { users: new Set(), items: new Map(), current: false, dirty: new Set() })
      this.reopen()
    }
    t.users.add(port)
    port.postMessage({ op: 'state', key, items: [...t.items.values()], current: t.current })
  }

  leave(port, key) {
    const t = this.topics.get(key)
    if (!t) return
    t.users.delete(port)
    if (!t.users.size) { this.topics.delete(key); this.reopen() }
  }

  // reopen opens the stream for other topics, behind what has been seen.
  reopen() {
    clearTimeout(this.again)
    this.again = setTimeout(() => {
      this.stop?.abort()
      this.hurry?.()
      if (this.topics.size) this.run()
    }, 20)
  }

  async read() {
    const has = [...this.topics.keys()]
    const last = this.last.split(',').filter(p => has.includes(p.split('=')[0]) && this.topics.get(p.split('=')[0]).current).join(',')
    const stop = this.stop.signal
    const res = await this.open('/api/v1/events?topics=' + encodeURIComponent(has.join(',')), last)
    this.wait = 0
    up(this)
    if (res.status === 204) return true
    await readEvents(res, e => { if (!stop.aborted) this.hear(e) }, { beat: () => up(this) })
    return false
  }

  hear(e) {
    if (e.id) this.last = e.id
    const data = JSON.parse(e.data)
    if (e.kind === 'reset') {
      for (const [key, t] of this.topics) if (!data.topic || data.topic === key) { t.items.clear(); t.current = false; t.fresh = true }
      return
    }
    if (e.kind === 'current') {
      const t = this.topics.get(data.topic)
      if (t) { t.current = true; this.tell(data.topic, t) }
      return
    }
    const id = data[keyOf[e.kind]]
    const one = e.kind === 'job' ? 'job:' + id : ''
    for (const [key, t] of this.topics) {
      if (key !== one && key !== { runner: 'fleet', run: 'runs', job: 'jobs' }[e.kind]) continue
      if (data.gone) t.items.delete(id)
      else {
        t.items.delete(id)
        t.items.set(id, data)
        if (key !== 'fleet' && t.items.size > mostKept) t.items.delete(t.items.keys().next().value)
      }
      t.dirty.add(id)
      t.timer ||= setTimeout(() => this.tell(key, t), batchTime)
    }
  }

  tell(key, t) {
    clearTimeout(t.timer)
    t.timer = 0
    const items = [], gone = []
    for (const id of t.dirty) { const v = t.items.get(id); if (v) items.push(v); else gone.push(id) }
    const message = t.fresh ? { op: 'state', key, items: [...t.items.values()], current: t.current } : { op: 'change', key, items, gone, current: t.current }
    t.dirty.clear()
    t.fresh = false
    for (const p of t.users) p.postMessage(message)
  }
}
const states = new States()
const isState = key => /^(fleet|runs|jobs|job:.*)$/.test(key)

// check reads a whole log and hashes it: for one that was not followed from its first line.
async function check(port, id) {
  try {
    const res = await fetch(`/api/v1/runs/${encodeURIComponent(id)}/log`, { cache: 'no-store' })
    if (!res.ok) throw new Error('status ' + res.status)
    const sum = new SHA256(), reader = res.body.getReader()
    let told = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      sum.update(value)
      if (sum.bytes - told > 4e6) { told = sum.bytes; port.postMessage({ op: 'checking', key: 'log:' + id, bytes: told }) }
    }
    const bytes = sum.bytes
    port.postMessage({ op: 'checked', key: 'log:' + id, sha256: sum.hex(), bytes })
  } catch (err) { port.postMessage({ op: 'checked', key: 'log:' + id, error: err.message }) }
}

function leave(port, key) {
  if (isState(key)) { states.leave(port, key); return }
  const topic = topics.get(key)
  if (!topic) return
  topic.users.delete(port)
  if (!topic.users.size) topic.end()
}

function attach(port) {
  ports.add(port)
  port.postMessage({ op: 'link', link: { ...link } })
  const bye = () => {
    ports.delete(port)
    for (const key of [...topics.keys(), ...states.topics.keys()]) leave(port, key)
  }
  port.onmessage = ({ data: m }) => {
    let topic = topics.get(m.key)
    switch (m.op) {
      case 'join':
        if (isState(m.key)) { states.join(port, m.key); break }
        if (!topic) topics.set(m.key, topic = new LogTopic(m.key))
        topic.users.add(port)
        port.postMessage({ op: 'joined', key: m.key })
        break
      case 'start':
        if (topic?.over) { port.postMessage({ key: m.key, ...topic.ended }); break }
        if (topic && !topic.begun) topic.start(m.at)
        break
      case 'leave': leave(port, m.key); break
      case 'check': check(port, m.id); break
      case 'hurry': for (const t of [states, ...topics.values()]) t.hurry?.(); break
      case 'bye': bye()
    }
  }
  port.addEventListener?.('close', bye)
  port.start?.()
}

if ('onconnect' in self) self.onconnect = e => attach(e.ports[0])
else attach(self)
