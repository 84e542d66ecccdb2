// What the fleet is like, as the gateway's events tell it.
import { useEffect } from 'preact/hooks'
import { signal, useSignal } from '@preact/signals'
import { get } from './api.js'
import { isFinal } from './ui.js'
import { listen } from './live.js'

// A topic's items by name or id, for as long as somebody looks.
const stores = new Map()
function store(key) {
  let s = stores.get(key)
  if (!s) stores.set(key, s = { value: signal({ items: new Map(), current: false, refused: null }), users: 0 })
  return s
}
const named = { fleet: 'name', schedules: 'name', queue: 'queue' }

export function useTopic(key) {
  const s = store(key), id = named[key] || 'id'
  useEffect(() => {
    if (s.users++ === 0) {
      s.stop = listen(key, m => {
        const was = s.value.peek()
        if (m.op === 'refused') { s.value.value = { ...was, refused: new Error(m.words) }; return }
        if (m.op === 'let in') { s.value.value = { ...was, refused: null }; return }
        if (m.op !== 'state' && m.op !== 'change') return
        const items = m.op === 'state' ? new Map() : new Map(was.items)
        for (const one of m.items) {
          const had = was.items.get(one[id])
          items.set(one[id], had && isFinal(had) && !isFinal(one) && had.state && !one.card ? had : one)
        }
        for (const id of m.gone || []) items.delete(id)
        s.value.value = { items, current: m.current, refused: null }
      })
    }
    return () => { if (--s.users === 0) { s.stop(); stores.delete(key) } }
  }, [key])
  return s.value.value
}

// useRun has a run's record: read once, and then as events tell it.
export function useRun(id) {
  const s = useSignal({ run: null, error: null })
  const seen = useTopic('runs').items.get(id)
  const again = !!(seen && s.value.error)
  useEffect(() => {
    let stop = false, timer
    const look = async () => {
      try {
        const run = await get('/api/v1/runs/' + encodeURIComponent(id))
        if (!stop) s.value = { run, error: null }
      } catch (error) {
        if (stop) return
        s.value = { ...s.value, error }
        if (!error.status || error.status === 503) timer = setTimeout(look, 1000)
      }
    }
    look()
    return () => { stop = true; clearTimeout(timer) }
  }, [id, again])
  const read = s.value.run
  const run = seen && !(read && isFinal(read) && !isFinal(seen)) ? seen : read
  return { run: run?.id === id ? run : null, error: s.value.error }
}
