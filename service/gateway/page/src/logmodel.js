// A run's log as the page has it: some of its lines, by number, and how far it goes.
import { get, query } from './api.js'
import { listen, send } from './live.js'
import { parse } from './ansi.js'
import { firstOf } from './hits.js'
import { lack } from './lack.js'

const first = 250          // lines that a log begins with: the last ones
const chunk = 400          // lines fetched together
const ahead = 100          // rows above and below what is seen that are fetched, too
const mostErrs = 20000     // lines of standard error that are marked
const mostLines = 20000    // kept; what was not looked at longest goes first
const shortYet = 8e6       // bytes of a log that goes on
const most = 4096          // bytes of a line that are shown at first

const before = (a, b) => { // places in a log: MESSAGE.RECORD
  const [x, y] = [a, b].map(s => s.split('.').map(Number))
  return x[0] < y[0] || (x[0] === y[0] && x[1] < y[1])
}

export class LogModel {
  constructor(id, changed) {
    this.id = id
    this.changed = changed
    this.path = `/api/v1/runs/${encodeURIComponent(id)}`
    this.lines = new Map()     // by number
    this.first = 1             // the first that is kept by the server
    this.next = 1              // number that the next line will have
    this.end = null            // the EOF record
    this.sum = null            // { state: 'checking' | 'verified' | 'differs' | 'unknown', … }
    this.error = null
    this.ready = false
    this.errs = new Set()      // numbers of lines of standard error, as far as they came
    this.errLines = null       // numbers of the lines of standard error, where only they are shown
    this.stamp = 0             // changes with what is shown
    this.arrived = 0
  }

  get count() { return this.errLines ? this.errLines.length : Math.max(0, this.next - this.first) }
  numberAt(row) { return this.errLines ? this.errLines[row] : this.first + row }
  rowOf(n) {
    if (!this.errLines) return Math.min(Math.max(n - this.first, 0), Math.max(this.count - 1, 0))
    return Math.min(firstOf(this.errLines, x => x >= n), Math.max(this.errLines.length - 1, 0))
  }

  async open() {
    const gone = () => this.closed
    const stop = listen('log:' + this.id, m => this.hear(m))
    this.stop = () => { this.closed = true; stop() }
    this.early = []
    for (let wait = 500; !gone(); wait = Math.min(wait * 2, 8000)) {
      try {
        const page = await this.fetch({ tail: first })
        if (gone()) return
        this.takePage(page)
        this.ready = true
        this.error = null
        const early = this.early
        this.early = null
        for (const m of early) this.hear(m)
        // What is short yet is followed from its first record, so that its hash is that of what came.
        const whole = page.first === 1 && (page.next <= first || (!page.end && page.bytes[0] + page.bytes[1] <= shortYet))
        send({ op: 'start', key: 'log:' + this.id, at: whole ? '' : page.at })
        this.told()
        return
      } catch (err) {
        if (gone()) return
        this.error = err
        this.told()
        if (err.status) return
        await new Promise(done => setTimeout(done, wait))
      }
    }
  }

  close() { this.stop?.() }
  told() { this.stamp++; this.changed() }

  async fetch(params) { return get(this.path + '/lines' + query(params)) }

  takePage(page) {
    this.first = Math.max(this.first, page.first || 1)
    this.next = Math.max(this.next, page.next)
    this.place = this.place && before(page.at, this.place) ? this.place : page.at
    for (const l of page.lines) this.put(l)
    if (page.end) this.takeEnd(page.end)
  }

  put(l) {
    const had = this.lines.get(l.n)
    if (had && had.at && l.at && before(l.at, had.at)) return
    this.lines.set(l.n, l)
    if (l.s === 'stderr') this.mark(l.n)
  }
  mark(n) { if (this.errs.size < mostErrs) this.errs.add(n) }

  hear(m) {
    if (this.early && m.op !== 'refused') { this.early.push(m); return }
    if (m.op === 'records') {
      const was = this.next
      this.error = null
      for (const r of m.records) this.record(r)
      this.next = Math.max(this.next, m.last + 1)
      this.arrived += this.next - was
      this.rate(this.next - was)
    } else if (m.op === 'reset') {
      this.lines.clear()
    } else if (m.op === 'end') {
      if (m.record?.tag === 'EOF') this.takeEnd(m.record, m.sum && { ...m.sum, live: true })
      else this.lost = true
    } else if (m.op === 'checking') this.sum = { state: 'checking', bytes: m.bytes }
    else if (m.op === 'checked') this.judge(m)
    else if (m.op === 'let in') this.error = null
    else if (m.op === 'refused') this.error = Object.assign(new Error(m.words), { status: m.status })
    else return
    this.told()
    this.trim()
  }

  rate(n) {
    const t = performance.now()
    this.rates = [...(this.rates || []).filter(([at]) => t - at < 3000), [t, n]]
    this.perSecond = Math.round(this.rates.reduce((s, [, k]) => s + k, 0) / Math.max(1, Math.min(3, (t - this.rates[0][0]) / 1000 + .5)))
  }

  // record takes one that came by the stream. What a page had already is known by its place.
  record(r) {
    if (r.tag === 'GAP') {
      this.lines.set(r.pos, { n: r.pos, t: r.time, gap: { lines: r.lines || 0, bytes: r.bytes || 0 }, at: r.at })
      return
    }
    const had = this.lines.get(r.pos)
    if (!had) {
      // A later piece of a line that is not here: it is fetched with its beginning.
      if (r.pos < this.next) return
      this.next = r.pos + 1
      this.lines.set(r.pos, { n: r.pos, t: r.time, s: r.stream, text: r.message, open: r.tag === 'BOL', step: r.step, at: r.at })
      if (r.stream === 'stderr') {
        this.mark(r.pos)
        if (this.errLines && this.errWhole) this.errLines.push(r.pos)
      }
      return
    }
    if (!had.open || (had.at && !before(had.at, r.at))) return
    let text = (had.text || '') + r.message, cut = had.cut || 0
    if (!had.whole && text.length > 2 * most) {
      const cr = text.lastIndexOf('\r', text.length - 2)
      if (cr > 0) { had.cr = (had.cr || 0) + text.slice(0, cr).split('\r').length - 1; text = text.slice(cr) } else { cut += text.length - most; text = text.slice(0, most) }
    } else if (cut) { cut += r.message.length; text = had.text }
    this.lines.set(r.pos, { ...had, text, cut, open: r.tag === 'BOL', at: r.at, parsed: undefined })
  }

  takeEnd(record, sum) {
    if (this.end && !sum) return
    const was = this.end
    this.end = record
    this.next = Math.max(this.next, record.pos)
    if (sum) this.judge(sum)
    else if (!was && !this.sum) this.sum = { state: 'unknown' }
  }

  judge({ sha256, bytes, error, live }) {
    const want = this.end?.sha256
    if (error) this.sum = { state: 'unknown', error }
    else if (sha256 === want) this.sum = { state: 'verified', sha256, bytes, live }
    else if (this.first > 1) this.sum = { state: 'unknown' }
    else this.sum = { state: 'differs', sha256, want, bytes }
  }

  check() {
    if (this.sum?.state === 'checking') return
    this.sum = { state: 'checking', bytes: 0 }
    send({ op: 'check', id: this.id })
    this.told()
  }

  // line gives what is here of one: undefined until it has been fetched.
  line(n) {
    const l = this.lines.get(n)
    if (l && !l.parsed && !l.gap) l.parsed = parse(l.text || '')
    return l
  }

  // need fetches what is missing of some rows. Where one looks now comes first, and what nobody
  // looks at any more is not asked for.
  need(from, to) {
    if (this.wanted && from !== this.wanted[0]) this.up = from < this.wanted[0]
    this.wanted = [from, to]
    this.pump()
  }

  // missing is what to ask for next.
  missing() {
    const [from, to] = this.wanted
    if (this.errLines) {
      for (let row = from; row < to; row++) {
        const n = this.numberAt(row)
        if (n !== undefined && !this.covered(n)) return { from: n, limit: chunk, stream: 'stderr' }
      }
      return null
    }
    const of = more => lack({ from: this.first + from - more, to: this.first + to - 1 + more, first: this.first, next: this.next, most: chunk, up: this.up, has: n => this.lines.has(n) })
    return of(0) || of(ahead)
  }

  async pump() {
    if (this.fetching || !this.ready) return
    const wanted = this.missing()
    if (!wanted) return
    this.fetching = true
    try {
      const page = await this.fetch(wanted)
      this.takePage(page)
      if (!wanted.stream) for (let n = wanted.from; n < Math.min(wanted.from + wanted.limit, page.next); n++) if (!this.lines.has(n)) this.lines.set(n, { n, nothing: true })
      if (page.first > wanted.from) this.first = Math.max(this.first, page.first)
      this.error = null
    } catch (err) {
      this.error = err
      await new Promise(done => setTimeout(done, 1000))
    }
    this.fetching = false
    if (this.closed) return
    this.told()
    this.pump()
  }

  covered(n) { return this.lines.has(n) || n >= this.next }

  trim() {
    if (this.lines.size <= mostLines) return
    const [a, b] = this.wanted || [0, 0]
    const [keepFrom, keepTo] = [this.numberAt(a) - 2000, this.numberAt(Math.max(b - 1, 0)) + 2000]
    for (const n of this.lines.keys()) {
      if ((n < keepFrom || n > keepTo) && n < this.next - 2000) this.lines.delete(n)
      if (this.lines.size <= mostLines / 2) break
    }
  }

  // onlyErrors shows the lines of standard error alone, with the log's own numbers.
  async onlyErrors(on) {
    if (!on) { this.errLines = null; this.told(); return }
    this.errLines = []
    this.errWhole = false
    this.told()
    for (let from = this.first; this.errLines;) {
      let page
      try { page = await this.fetch({ stream: 'stderr', from, limit: 1000 }) } catch (err) { this.error = err; this.told(); return }
      if (!this.errLines) return
      for (const l of page.lines) { this.put(l); if (!l.gap) this.errLines.push(l.n) }
      this.told()
      if (page.lines.length < 1000) break
      from = page.lines[page.lines.length - 1].n + 1
    }
    this.errWhole = true
  }

  async whole(n) {
    const page = await this.fetch({ from: n, limit: 1, whole: 1 })
    const l = page.lines[0]
    if (l) { l.whole = true; this.lines.set(n, l); this.told() }
  }
}
