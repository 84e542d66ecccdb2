// What the fleet is like, as the gateway's events tell it.
import { useEffect } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get } from './api.js'
import { isFinal } from './ui.js'
import { link } from './link.js'

// useRun has a run's record, and reads it again until it is final.
export function useRun(id) {
  const s = useSignal({ run: null, error: null })
  useEffect(() => {
    let stop = false, timer
    s.value = { run: null, error: null }
    const look = async () => {
      try {
        const run = await get('/api/v1/runs/' + encodeURIComponent(id))
        if (stop) return
        s.value = { run, error: null }
        if (isFinal(run)) return
      } catch (error) {
        if (stop) return
        s.value = { ...s.value, error }
        if (error.status === 404 || error.status === 403) return
      }
      timer = setTimeout(look, 1000)
    }
    look()
    return () => { stop = true; clearTimeout(timer) }
  }, [id])
  return s.value
}
