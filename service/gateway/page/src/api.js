// Requests to the gateway that served the page, and its clock.
import { signal } from '@preact/signals'

// An error's message is the server's own words. Status 0: no answer came.
export class ApiError extends Error {
  constructor(status, text) { super(text); this.status = status }
}

export const me = signal(null)          // { sub, scopes, fleet, version }; null until it is known
export const signedOut = signal('')     // the server's words; empty while signed in

// The server's clock counts: this machine's may be wrong by days.
let offset = 0
export const serverTime = t => t + offset
export const now = () => serverTime(Date.now())
export function setClock(date) {
  const t = Date.parse(date)
  if (t && Math.abs(t + 500 - now()) > 1500) offset = t + 500 - Date.now()
}

async function wordsOf(res) {
  const text = await res.text()
  try {
    const body = JSON.parse(text)
    return body.error || body.message || body.detail || text
  } catch { return text || res.statusText || 'status ' + res.status }
}

export async function request(method, path, { body, signal, headers } = {}) {
  let res
  try {
    res = await fetch(path, {
      method, signal, cache: 'no-cache', credentials: 'same-origin',
      headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
  } catch (err) {
    if (err.name === 'AbortError') throw err
    throw new ApiError(0, 'the gateway does not answer')
  }
  setClock(res.headers.get('Date'))
  if (res.ok || res.status === 304) return res
  const words = await wordsOf(res)
  if (res.status === 401) signedOut.value = words
  throw new ApiError(res.status, words)
}

export const get = async (path, opts) => (await request('GET', path, opts)).json()
export async function post(path, body = {}, opts) {
  const text = await (await request('POST', path, { ...opts, body })).text()
  return text ? JSON.parse(text) : null
}

export const may = scope => {
  const scopes = me.value?.scopes || []
  return scopes.includes(scope) || scopes.includes('admin') || (scopes.includes('run') && ['jobs', 'code'].includes(scope))
}

export const query = params => {
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries(params)) if (v !== undefined && v !== null && v !== '') q.set(k, v)
  const text = q.toString()
  return text ? '?' + text : ''
}
