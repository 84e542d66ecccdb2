// What no event tells is read again, and things are asked for.
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get } from './api.js'
import { tell } from './ui.js'
import { link } from './link.js'

const again = 5000 // ms until what no event tells is read again
const soon = 700

// useAgain reads something now, after each change of a key, and from time to time while it is seen.
export function useAgain(path, key) {
  const s = useSignal({ path: '', value: null, error: null })
  const read = useRef()
  useEffect(() => {
    let stop = false, timer
    const look = async () => {
      clearTimeout(timer)
      if (!document.hidden && link.value.state !== 'cut') {
        try {
          const value = await get(path)
          if (!stop) s.value = { path, value, error: null }
        } catch (error) { if (!stop) s.value = { ...s.value, path, error } }
      }
      if (!stop) timer = setTimeout(look, again)
    }
    read.current = look
    look()
    return () => { stop = true; clearTimeout(timer) }
  }, [path])
  useEffect(() => {
    if (!key) return
    const timer = setTimeout(() => read.current(), soon)
    return () => clearTimeout(timer)
  }, [key])
  return [s.value.path === path ? s.value : { value: null, error: null }, () => read.current()]
}

// act asks for something and says what came of it.
export async function act(what, f, after) {
  try { tell(await f() || what) } catch (err) { tell(`cannot ${what}: ${err.message}`) }
  after?.()
}
