// The stream of events: one connection to the gateway, for whatever is shown in however many tabs.
// Other topics mean another connection, which goes on where the one before was; that one is read
// until the new one answers, so that nothing stands still.
import { readEvents } from './sse.js'

const soon = 20       // ms that a new topic waits for others
const lazily = 2000   // ms that one which nobody wants any more is still read
const calm = 250      // ms between two connections

const placesOf = id => new Map(id.split(',').filter(Boolean).map(p => p.split('=')))

export class Stream {
  // tell has cut(when it is tried again), up(), and refused(status, words).
  constructor(tell) {
    this.tell = tell
    this.topics = new Map() // by key
    this.last = ''          // the newest id
    this.asked = ''         // the topics of the newest connection
    this.good = new Set()   // those of the last one that was answered
    this.now = null         // the newest connection
    this.reading = null     // that which is being read
    this.due = 0
    this.opened = 0
  }

  add(topic) { this.topics.set(topic.key, topic); this.soonest(soon) }
  drop(key) { if (this.topics.delete(key)) this.soonest(lazily) }

  soonest(delay) {
    const due = Math.max(Date.now() + delay, this.opened + calm)
    if (this.due && this.due <= due) return
    this.due = due
    clearTimeout(this.timer)
    this.timer = setTimeout(() => { this.due = 0; this.begin() }, due - Date.now())
  }

  // begin opens a connection for the topics that there are, unless it is there.
  begin(anew) {
    const asked = [...this.topics.keys()].sort().join(',')
    // A topic that went and came back is another one: it wants to hear all from its own beginning.
    const same = this.now && asked === this.asked && [...this.topics].every(([key, t]) => this.now.topics.get(key) === t)
    if (this.resting || (!anew && same)) return
    this.asked = asked
    this.opened = Date.now()
    if (this.now && this.now !== this.reading) this.now.abort()
    if (!asked) { this.end(); return }
    this.now = new AbortController()
    this.run(this.now)
  }

  end() {
    this.now?.abort()
    this.reading?.abort()
    this.now = this.reading = null
  }

  // renew asks again after an answer that ended all, or with another cookie.
  renew() { this.end(); this.begin(true) }
  hurry() { this.wake?.() }
  // rest gives the connection to others while nobody looks.
  rest(on) {
    this.resting = on
    if (on) this.end()
    else this.begin(true)
  }

  async run(mine) {
    for (let wait = 0; mine === this.now;) {
      let problem
      try {
        const res = await this.ask(mine)
        if (mine !== this.now) return
        if (this.reading !== mine) this.reading?.abort()
        this.reading = mine
        wait = 0
        if (this.shut) for (const t of this.topics.values()) t.send({ op: 'let in' })
        this.shut = false
        for (const t of this.topics.values()) if (!mine.placed.has(t.key)) t.anew?.()
        this.good = new Set(this.topics.keys())
        this.tell.up()
        if (res.status === 204) break
        await readEvents(res, e => { if (this.reading === mine) this.hear(e, mine) },
          { beat: () => { if (mine === this.now) this.tell.up() }, place: id => { if (this.reading === mine) this.last = id } })
      } catch (err) { problem = err }
      if (mine !== this.now) return
      if (!this.topics.size) break
      if (problem?.status >= 400 && problem.status < 500 && problem.status !== 429) {
        if (this.refused(problem)) continue
        break
      }
      // A stream that only ended, as when the gateway stops, is opened again at once.
      wait = problem ? Math.min(wait * 2 || 500, 8000) : 100
      if (problem) this.tell.cut(Date.now() + wait)
      await new Promise(done => { this.wake = done; setTimeout(done, wait) })
    }
    if (mine !== this.now) return
    this.end()
    this.asked = ''
  }

  // refused says so to the topics, and whether there are others to go on with.
  refused({ status, message }) {
    const all = [...this.topics.values()]
    const bad = status === 401 || status === 403 ? all : all.filter(t => !this.good.has(t.key))
    for (const t of bad.length ? bad : all) {
      if (status !== 401 && status !== 403) this.topics.delete(t.key)
      t.refused(status, message)
    }
    this.shut = true
    this.tell.refused(status, message)
    return bad.length > 0 && bad.length < all.length
  }

  async ask(mine) {
    const at = placesOf(this.last), places = []
    mine.topics = new Map(this.topics)
    mine.placed = new Set()
    for (const t of this.topics.values()) {
      const place = t.place(at.get(t.key))
      if (!place) continue
      places.push(t.key + '=' + place)
      mine.placed.add(t.key)
    }
    const res = await fetch('/api/v1/events?topics=' + [...this.topics.keys()].map(encodeURIComponent).join(','), {
      signal: mine.signal, cache: 'no-store', credentials: 'same-origin',
      headers: places.length ? { 'Last-Event-ID': places.join(',') } : {},
    })
    if (res.ok) return res
    const err = new Error((await res.json().catch(() => ({}))).error || 'status ' + res.status)
    err.status = res.status
    throw err
  }

  hear(e, mine) {
    this.last = e.id || this.last
    const data = JSON.parse(e.data)
    const to = key => {
      const topic = this.topics.get(key)
      if (mine.topics.get(key) === topic) topic?.hear(e.kind, data)
    }
    switch (e.kind) {
      case 'log': case 'end': to('log:' + data.run); break
      case 'runner': to('fleet'); break
      case 'run': to('runs'); break
      case 'queue': to('queue'); break
      case 'schedule': to('schedules'); break
      case 'job': to('jobs'); to('job:' + data.id); break
      case 'current': to(data.topic); break
      case 'reset': if (data.topic) to(data.topic); else for (const key of this.topics.keys()) to(key)
    }
  }
}
