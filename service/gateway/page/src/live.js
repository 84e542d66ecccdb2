// A tab's side of the worker that holds the streams.
import { link } from './link.js'
import { signedOut } from './api.js'

const listeners = new Map() // key -> set of functions
let port

function connect() {
  if (port) return port
  if (self.SharedWorker) {
    const w = new SharedWorker(WORKER, { name: 'runnel' })
    port = w.port
    port.start()
  } else port = new Worker(WORKER)
  port.onmessage = ({ data: m }) => {
    if (m.op === 'link') { link.value = m.link; return }
    if (m.op === 'refused' && m.status === 401) signedOut.value = m.words
    for (const f of listeners.get(m.key) || []) f(m)
  }
  return port
}

addEventListener('pagehide', () => port?.postMessage({ op: 'bye' }))
addEventListener('pageshow', e => {
  if (!e.persisted) return
  for (const key of listeners.keys()) port?.postMessage({ op: 'join', key })
})

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
