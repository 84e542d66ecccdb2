// What the stream is about: logs, and the states of things. A topic keeps what a tab needs that
// comes later, and tells its tabs what is new.
import { SHA256 } from './sha256.js'

const batchTime = 50      // ms that news waits for more
const batchMost = 1000    // records given at once; what is before them is there to be fetched
const mostKept = 3000     // runs or jobs

class Topic {
  constructor(key) { this.key = key; this.users = new Set() }
  send(message) { for (const p of this.users) p.postMessage({ key: this.key, ...message }) }
  refused(status, words) { this.send({ op: 'refused', status, words }) }
  later() { this.timer ||= setTimeout(() => { this.timer = 0; this.flush() }, batchTime) }
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

// LogTopic follows a run's log. It hashes what it gets, if that is all from the first record.
export class LogTopic extends Topic {
  constructor(key) { super(key); this.forget() }

  forget() { this.message = this.record = 0; this.pending = []; this.left = 0; this.last = 0; this.sum = new SHA256() }

  // start is behind a record, as MESSAGE.RECORD; before all for ''.
  start(at) {
    this.begun = true
    const [message, record] = at.split('.').map(Number)
    if (message > 0) { this.message = message; this.record = record; this.sum = null }
  }
  place() { return this.message ? this.message + '.' + this.record : '' }

  hear(kind, data) {
    if (kind === 'log') this.take(data)
    else if (kind === 'end') this.finish(data)
    else if (kind === 'reset') { this.forget(); this.send({ op: 'reset' }) }
  }

  take({ at, records }) {
    let k = 0
    for (const [message, first, n] of at) {
      for (let i = first; i < first + n; i++) {
        const r = records[k++]
        if (message < this.message || (message === this.message && i <= this.record)) continue // by the connection before
        this.message = message
        this.record = i
        r.at = message + '.' + i
        this.add(r)
      }
    }
  }

  add(r) {
    if (r.tag !== 'GAP' && this.sum) {
      this.sum.update(bytesOf(r))
      if (r.tag !== 'BOL') this.sum.update(newline)
    }
    this.last = Math.max(this.last, r.pos + (r.tag === 'GAP' ? (r.lines || 0) - 1 : 0))
    this.pending.push(r)
    if (this.pending.length > 2 * batchMost) { this.left += batchMost; this.pending.splice(0, batchMost) }
    this.later()
  }

  flush() {
    if (!this.pending.length) return
    const most = this.pending.length - batchMost
    if (most > 0) { this.left += most; this.pending.splice(0, most) }
    this.send({ op: 'records', records: this.pending, left: this.left, last: this.last })
    this.pending = []
    this.left = 0
  }

  finish({ record, error }) {
    this.flush()
    this.over = true
    this.ended = error ? { op: 'refused', status: 404, words: error }
      : { op: 'end', record, sum: this.sum && { sha256: this.sum.hex(), bytes: this.sum.bytes } }
    this.send(this.ended)
    this.onEnd?.()
  }
}

// StateTopic keeps the newest state of each runner, run, job or schedule; the queue is one thing.
const idOf = { fleet: 'name', schedules: 'name', queue: 'queue' }
const many = ['runs', 'jobs']
export class StateTopic extends Topic {
  constructor(key) { super(key); this.items = new Map(); this.current = false; this.dirty = new Set(); this.id = idOf[key] || 'id' }

  place(at) { return this.current ? at : '' }

  // anew: everything comes again.
  anew() { this.items.clear(); this.dirty.clear(); this.current = false; this.fresh = true }

  join(port) {
    this.users.add(port)
    port.postMessage({ op: 'state', key: this.key, items: [...this.items.values()], current: this.current })
  }

  hear(kind, data) {
    if (kind === 'reset') { this.anew(); return }
    if (kind === 'current') { this.current = true; clearTimeout(this.timer); this.timer = 0; this.flush(); return }
    const id = data[this.id]
    this.items.delete(id)
    if (!data.gone) this.items.set(id, data)
    this.dirty.add(id)
    if (many.includes(this.key) && this.items.size > mostKept) this.items.delete(this.items.keys().next().value)
    if (this.current) this.later()
  }

  flush() {
    if (!this.current) return
    const items = [], gone = []
    for (const id of this.dirty) { const v = this.items.get(id); if (v) items.push(v); else gone.push(id) }
    this.send(this.fresh ? { op: 'state', items: [...this.items.values()], current: this.current } : { op: 'change', items, gone, current: this.current })
    this.dirty.clear()
    this.fresh = false
  }
}
export const isState = key => /^(fleet|runs|jobs|queue|schedules|job:.*)$/.test(key)
