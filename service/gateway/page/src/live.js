// A tab's side of the worker that holds the stream.
import { link } from './link.js'
import { signedOut } from './api.js'

const listeners = new Map() // key -> set of functions
const restAfter = 5000      // ms after which a tab that nobody sees gives its own connection to others
let port, again = () => {}

// onSignedIn: f is called when somebody has signed in, in another tab.
export const onSignedIn = f => { again = f }

function connect() {
  if (port) return port
  try {
    const w = new SharedWorker(WORKER, { name: 'runnel' })
    port = w.port
    port.start()
  } catch { // no browser, or not in this mode of it
    port = new Worker(WORKER)
    rests()
  }
  port.onmessage = ({ data: m }) => {
    if (m.op === 'link') { link.value = { ...m, since: Date.now() - m.since, next: Date.now() + m.next }; return }
    if (m.op === 'signed') {
      if (m.out) signedOut.value = m.out
      else again()
      return
    }
    for (const f of listeners.get(m.key) || []) f(m)
  }
  return port
}

// rests: a browser has six connections for all tabs, so that one which is not seen gives its own
// away. It goes on where it was.
function rests() {
  let timer
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer)
    if (document.hidden) timer = setTimeout(() => send({ op: 'rest', on: true }), restAfter)
    else send({ op: 'rest', on: false })
  })
}

addEventListener('pagehide', () => port?.postMessage({ op: 'bye' }))
addEventListener('pageshow', e => { if (e.persisted) location.reload() })

export const send = m => connect().postMessage(m)

// listen hears of a topic until what it returns is called.
export function listen(key, f) {
  let set = listeners.get(key)
  if (!set) listeners.set(key, set = new Set())
  set.add(f)
  send({ op: 'join', key })
  return () => {
    set.delete(f)
    if (set.size) return
    listeners.delete(key)
    send({ op: 'leave', key })
  }
}
export const hurry = () => send({ op: 'hurry' })
// signed tells the other tabs, which have the same cookie: { out: why }, {} for in, { hello: true }
// of a tab that has just opened and is let in.
export const signed = how => send({ op: 'signed', ...how })
