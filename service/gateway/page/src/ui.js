// Small parts that all views are made of.
import { html } from 'htm/preact'
import { signal } from '@preact/signals'
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { age, date, duration, full, millis, second } from './time.js'
import { now } from './api.js'
import { link } from './link.js'

export { html }

export const Icon = ({ name, cls = '' }) =>
  html`<svg class=${'ico ' + cls} aria-hidden="true"><use href=${'#i-' + name} /></svg>`

// Of a state: its shape, and what its colour means.
const looks = {
  PENDING: ['pending', ''], RUNNING: ['running', 'run'], COMPLETE: ['complete', 'ok'], FAILED: ['failed', 'bad'],
  ABORTED: ['aborted', 'warn'], TIMEDOUT: ['timedout', 'bad'], MISSING: ['missing', 'warn'], UNKNOWN: ['missing', ''],
  online: ['online', 'ok'], offline: ['offline', ''], draining: ['draining', 'warn'], unhealthy: ['unhealthy', 'bad'], gone: ['offline', ''],
  waiting: ['pending', ''], running: ['running', 'run'], done: ['complete', 'ok'], error: ['failed', 'bad'],
  canceled: ['aborted', 'warn'], skipped: ['skipped', ''], paused: ['paused', 'warn'],
}
export const lookOf = word => looks[word] || ['missing', '']

// A run that ended by itself with another exit code than 0 has not gone well.
export function look(run) {
  const [shape, colour] = lookOf(run.state)
  if (run.state === 'COMPLETE' && !wentWell(run)) return ['failed', 'bad']
  if (run.state === 'FAILED' && run.reason === 'lost') return ['lost', 'bad']
  return [shape, colour]
}
export const wentWell = run => run.state === 'COMPLETE' && !run.exitCode && !run.signal && (!run.reason || run.reason === 'exit')
export const isFinal = run => !['PENDING', 'RUNNING', 'UNKNOWN', undefined].includes(run?.state)

// What follows the word: the exit code, or why.
export function reasonOf(run) {
  if (!isFinal(run)) return run.aborting ? 'ending' : ''
  if (run.reason === 'exit' || run.reason === 'compile') return (run.reason === 'compile' ? 'not compiled, ' : '') + 'exit ' + (run.exitCode || 0)
  if (run.reason === 'signal') return run.signal
  if (['aborted', 'timeout'].includes(run.reason)) return ''
  return run.reason || ''
}

export function State({ word, shape, colour, reason, big }) {
  const [s, c] = shape ? [shape, colour] : lookOf(word)
  return html`<span class=${`st ${c}${big ? ' big' : ''}`}><${Icon} name=${s} />${word}${reason ? (big ? ', ' : ' ') + reason : ''}</span>`
}
export const RunState = ({ run, big }) => {
  const [shape, colour] = look(run)
  return html`<${State} word=${run.state} shape=${shape} colour=${colour} big=${big} reason=${reasonOf(run)} />`
}

const iso = t => new Date(t).toISOString()

// "41s ago", ticking; the clock's time while the page is cut off.
export function Ago({ t, suffix = ' ago' }) {
  const at = useSignal(0)
  at.value = typeof t === 'number' ? t : millis(t)
  const text = useComputed(() => {
    if (!at.value) return '–'
    if (link.value.state === 'cut') return date(at.value)
    second.value
    const past = now() - at.value
    return past > 86400e3 * 2 ? date(at.value) : age(past) + suffix
  })
  return at.value ? html`<time datetime=${iso(at.value)} title=${full(at.value)}>${text}</time>` : html`<span class="dim3">–</span>`
}

// How long something took, or has been going.
export function Took({ from, to }) {
  const a = useSignal(0), b = useSignal(0)
  a.value = millis(from)
  b.value = millis(to)
  const text = useComputed(() => {
    if (!a.value) return '–'
    if (b.value) return duration(b.value - a.value)
    second.value
    const ms = now() - a.value
    return ms < 60e3 ? Math.max(0, Math.floor(ms / 1e3)) + 's' : duration(ms)
  })
  return html`<span>${text}</span>`
}

export function Id({ id }) {
  return html`<span class="id" title=${id}>${id.slice(0, 10)}<i>${id.slice(10)}</i></span>`
}

export const Tags = ({ tags }) =>
  Object.entries(tags || {}).sort().map(([k, v]) => html`<span class="tag"><bdi>${k}</bdi><i>=</i><bdi>${v}</bdi></span>`)

// News is told in the foot, for a while.
export const news = signal('')
let newsTimer
export function tell(text) {
  news.value = text
  clearTimeout(newsTimer)
  newsTimer = setTimeout(() => { news.value = '' }, 5000)
}

export async function copy(text, what = 'copied') {
  try {
    await navigator.clipboard.writeText(await text)
    tell(what)
  } catch {
    const area = document.createElement('textarea')
    area.value = await text
    document.body.append(area)
    area.select()
    const ok = document.execCommand('copy')
    area.remove()
    tell(ok ? what : 'the browser does not let this page copy')
  }
}

export const CopyRow = ({ label, text }) => html`<div>
  <div class="copyrow"><span class="lab">${label}</span>
    <button type="button" class="btn bare" onClick=${() => copy(text)}><${Icon} name="copy" />Copy</button></div>
  <pre class="code" tabindex="0">${text}</pre></div>`

export const Empty = ({ icon, title, children, code, label }) => html`<section class="sheet empty" aria-label=${label || title}>
  <${Icon} name=${icon} /><h2>${title}</h2>${children}${code && html`<${CopyRow} label="In a terminal" text=${code} />`}</section>`

export const Problem = ({ what, error, next }) => html`<div class="sheet notice bad" role="alert"><${Icon} name="warn" />
  <span><b>${what}.</b> ${error.message || String(error)}${next && html`<br />${next}`}</span></div>`

export const Find = ({ label, value, onInput, children, onKeyDown }) => html`<span class="fld find"><${Icon} name="find" />
  <input type="search" data-find placeholder=${label} aria-label=${label} value=${value} autocomplete="off" spellcheck="false"
    onInput=${e => onInput(e.target.value)} onKeyDown=${onKeyDown} />${children}</span>`

export const Seg = ({ label, value, options, onPick, cls = '' }) => html`<span class=${'seg ' + cls} role="group" aria-label=${label}>
  ${options.map(([v, text]) => html`<button type="button" class="btn" aria-pressed=${String(v === value)} onClick=${() => onPick(v)}>${text}</button>`)}</span>`

export const Chip = ({ icon, colour, n, word, on, onClick }) => html`<button type="button" class="chip" aria-pressed=${String(!!on)} onClick=${onClick}>
  <${Icon} name=${icon} cls=${'c-' + (colour || 'off')} /><b>${n}</b> ${word}</button>`

// A choice that is kept in this browser.
export function kept(name, first) {
  let value = first
  try { value = JSON.parse(localStorage.getItem('runnel.' + name)) ?? first } catch { /* storage is off */ }
  const s = signal(value)
  s.subscribe(v => { try { localStorage.setItem('runnel.' + name, JSON.stringify(v)) } catch { /* as above */ } })
  return s
}

export const useTitle = title => useEffect(() => { document.title = title ? title + ' · Runnel' : 'Runnel' }, [title])

// Bars in 20 steps of a class: a style attribute would be against the policy.
export const Meter = ({ of, cls = '' }) =>
  html`<i class=${`m m${Math.min(20, Math.max(0, Math.round(of * 20)))} ${of > .85 ? 'hi' : ''} ${cls}`}></i>`
