// One for all tabs: it holds the stream of events, hashes logs, and gives each tab what it shows.
// Where there is no SharedWorker each tab has one of its own.
import { SHA256 } from './sha256.js'
import { Stream } from './stream.js'
import { LogTopic, StateTopic, isState } from './topics.js'

const ports = new Set()
const topics = new Map()  // by key
const post = message => { for (const p of ports) p.postMessage(message) }

const link = { state: 'connecting', since: 0, next: 0, gone: 0 }
function setLink(change) {
  const was = JSON.stringify(link)
  Object.assign(link, change)
  if (JSON.stringify(link) !== was) post(linkNow())
}
// Times go as how long ago, or in how long: no two clocks have to agree.
const linkNow = () => ({ op: 'link', state: link.state, since: Date.now() - link.since, next: link.next - Date.now(), gone: link.gone })

let shut = false // nobody is let in with the cookie that there is
const stream = new Stream({
  cut: next => setLink({ state: 'cut', since: link.state === 'cut' ? link.since : Date.now(), next }),
  up() {
    if (link.state === 'live' || link.state === 'back') return
    if (link.state !== 'cut') return setLink({ state: 'live', next: 0 })
    setLink({ state: 'back', gone: Date.now() - link.since, next: 0 })
    setTimeout(() => { if (link.state === 'back') setLink({ state: 'live' }) }, 5000)
  },
  refused(status, words) {
    shut = true
    if (status === 401) post({ op: 'signed', out: words })
    setLink({ state: 'connecting', next: 0 })
  },
})

// check reads a whole log and hashes it: for one that was not followed from its first line.
async function check(port, id) {
  const tell = message => port.postMessage({ key: 'log:' + id, ...message })
  try {
    const res = await fetch(`/api/v1/runs/${encodeURIComponent(id)}/log`, { cache: 'no-store' })
    if (!res.ok) throw new Error('status ' + res.status)
    const sum = new SHA256(), reader = res.body.getReader()
    let told = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      sum.update(value)
      if (sum.bytes - told > 4e6) { told = sum.bytes; tell({ op: 'checking', bytes: told }) }
    }
    const bytes = sum.bytes
    tell({ op: 'checked', sha256: sum.hex(), bytes })
  } catch (err) { tell({ op: 'checked', error: err.message }) }
}

function join(port, key) {
  let topic = topics.get(key)
  if (!topic) topics.set(key, topic = isState(key) ? new StateTopic(key) : new LogTopic(key))
  if (!isState(key)) {
    topic.users.add(port)
    topic.onEnd = () => stream.drop(key)
    return
  }
  topic.join(port)
  stream.add(topic)
}

// start follows a log: from where the first tab says that wants it.
function start(port, key, at) {
  const topic = topics.get(key)
  if (topic?.over) { port.postMessage({ key, ...topic.ended }); return }
  if (!topic || topic.begun) return
  topic.start(at)
  stream.add(topic)
}

function leave(port, key) {
  const topic = topics.get(key)
  if (!topic?.users.delete(port) || topic.users.size) return
  topics.delete(key)
  stream.drop(key)
}

function attach(port) {
  ports.add(port)
  port.postMessage(linkNow())
  const bye = () => {
    ports.delete(port)
    for (const key of [...topics.keys()]) leave(port, key)
  }
  const others = message => { for (const p of ports) if (p !== port) p.postMessage(message) }
  port.onmessage = ({ data: m }) => {
    switch (m.op) {
      case 'join': join(port, m.key); break
      case 'start': start(port, m.key, m.at); break
      case 'leave': leave(port, m.key); break
      case 'check': check(port, m.id); break
      case 'hurry': stream.hurry(); break
      case 'rest': stream.rest(m.on); break
      case 'signed': // in that tab; the others have the same cookie
        if (m.hello && !shut) break
        shut = !!m.out
        others({ op: 'signed', out: m.out })
        stream.renew()
        break
      case 'bye': bye()
    }
  }
  port.addEventListener?.('close', bye)
  port.start?.()
}

if ('onconnect' in self) self.onconnect = e => attach(e.ports[0])
else attach(self)
