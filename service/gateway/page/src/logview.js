// A log with its tools: find, streams, times, wrap, first and last, copy, download, and what it adds up to.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal, signal } from '@preact/signals'
import { ApiError, get, now, query, request } from './api.js'
import { bytes, group, millis, duration } from './time.js'
import { Empty, Find, Icon, RunState, Seg, Took, copy, isFinal, kept, tell } from './ui.js'
import { LogModel } from './logmodel.js'
import { LogPane } from './logpane.js'
import { go, hash } from './router.js'
import { parse } from './ansi.js'
import { link } from './link.js'
import { Hits } from './hits.js'
import { Rail } from './rail.js'

const wrap = kept('wrap', true)
const times = kept('times', 'clock')
const path = run => `/api/v1/runs/${encodeURIComponent(run.id)}`

// ranges in a text that a search finds, by the rules of the server
export function finder(text, regex) {
  let re
  try { re = new RegExp(regex ? text : text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'giu') } catch { return () => [] }
  return line => {
    const found = []
    re.lastIndex = 0
    for (let m; found.length < 1000 && (m = re.exec(line));) {
      if (m[0] === '') { re.lastIndex++; continue }
      found.push([m.index, m.index + m[0].length])
    }
    return found
  }
}

const lineHash = () => {
  const m = /^#L(\d+)(?:-(\d+))?$/.exec(hash.value)
  return m ? [Number(m[1]), Number(m[2] || m[1])] : null
}

export function LogView({ run, compact, label, started }) {
  const box = useRef(), pane = useRef(), model = useRef()
  const stamp = useSignal(0)
  const search = useSignal({ text: '', hits: new Hits(), at: -1, done: true, percent: 0 })
  const begun = useRef(0)
  begun.current = millis(started || run.started || run.created)

  useEffect(() => {
    const told = calmly(() => { stamp.value++ })
    const m = model.current = new LogModel(run.id, () => { p.refresh(); told() })
    const p = pane.current = new LogPane(box.current, m, {
      label: `Lines of ${label || run.name || run.id}`, anchors: !compact, started: () => begun.current,
      onState: () => { stamp.value++ },
      onChoose: (a, b) => {
        p.choose(a, b)
        if (!compact) go(`${location.pathname}${location.search}#L${a}${b > a ? '-' + b : ''}`, { replace: true })
      },
      onDraw: (from, to) => rail?.drawn(from, to),
    })
    const rail = compact ? null : new Rail(box.current, m)
    const seen = rail && search.subscribe(s => rail.show(s.hits.lines))
    p.set({ wrap: compact ? false : wrap.value, times: compact ? 'off' : times.value })
    let first = true
    const was = m.changed
    m.changed = () => {
      if (first && m.ready) {
        first = false
        const at = !compact && lineHash()
        if (at) { p.choose(...at); p.to(at[0]) }
        stamp.value++
      }
      was()
    }
    m.open()
    return () => { told.stop(); m.close(); p.destroy(); if (rail) { seen(); rail.destroy() } }
  }, [run.id])

  useEffect(() => { if (!compact) pane.current?.set({ wrap: wrap.value, times: times.value }) }, [wrap.value, times.value])
  // An address with a line leads to it at once, not when all else has been drawn.
  useEffect(() => (compact ? undefined : hash.subscribe(() => {
    const at = lineHash()
    if (!at) { pane.current?.choose(); return }
    if (model.current?.ready && pane.current.chosen?.[0] !== at[0]) { pane.current.choose(...at); pane.current.to(at[0]) }
  })), [])
  useEffect(() => {
    if (times.value !== 'ago') return
    const t = setInterval(() => pane.current?.refresh(), 1000)
    return () => clearInterval(t)
  }, [times.value])

  stamp.value
  const m = model.current, p = pane.current
  const over = m?.end || (m?.lost && isFinal(run))
  const nothing = m?.ready && m.count === 0 && !m.errLines
  return html`<section class="logbox" aria-label=${compact ? `Output of ${label}` : "Output"}>
    ${!compact && html`<${Tools} run=${run} model=${m} pane=${p} search=${search} lines=${m ? m.next - m.first : 0} onlyErr=${!!m?.errLines} />`}
    ${!compact && m?.first > 1 && html`<div class="notice"><${Icon} name="torn" /><span><b>Lines 1 to ${m.first - 1} are gone.</b> The log stream lets go of the oldest lines. The first one kept is ${m.first}.</span></div>`}
    <div class="view" ref=${box}>
      ${nothing && html`<div class="nothing">${over
        ? html`<${Empty} icon="complete" title="It printed nothing" label="Output"><p>${run.state}, 0 lines.</p><//>`
        : html`<${Empty} icon="running" title="Nothing printed yet" label="Output"><p>Lines come here as they are printed.</p><//>`}</div>`}
      ${m?.ready && !over && !nothing && html`<${Pill} model=${m} pane=${p} compact=${compact} />`}
    </div>
    ${m?.error && html`<div class="notice bad" role="alert"><${Icon} name="warn" /><span><b>Cannot read the log:</b> ${m.error.message}</span></div>`}
    ${m?.lost && html`<div class="notice bad"><${Icon} name="lost" /><span><b>This log has no end.</b> The runner was lost; what it sent up to then is above, in full.</span></div>`}
    <${Sum} run=${run} model=${m} compact=${compact} />
    ${!compact && html`<${Said} model=${m} />`}
  </section>`
}

// calmly calls a function now and then, however often it is asked to, and once after the last time.
const calm = 100 // ms
function calmly(f) {
  let timer = 0, again = false
  const now = () => {
    again = false
    timer = setTimeout(() => { timer = 0; if (again) now() }, calm)
    f()
  }
  const ask = () => { if (timer) again = true; else now() }
  ask.stop = () => clearTimeout(timer)
  return ask
}

// A screen reader hears of new lines at most every ten seconds, and of the end once.
function Said({ model }) {
  const text = useSignal('')
  const last = useRef(0)
  useEffect(() => {
    const t = setInterval(() => {
      if (!model) return
      const n = model.next - last.current
      if (last.current && n > 0) text.value = `${group(n)} new lines`
      last.current = model.next
    }, 10000)
    return () => clearInterval(t)
  }, [model])
  const ended = !!model?.end
  return html`<span class="vh" role="status">${ended ? `the log has ended with ${model.next - 1} lines` : text}</span>`
}

// lines and onlyErr are told, since what is given the same again is not drawn again.
function Tools({ run, model, pane, search, lines, onlyErr }) {
  const total = group(lines)
  const s = search.value
  const timer = useRef()
  const abort = useRef()
  const begin = text => {
    clearTimeout(timer.current)
    abort.current?.abort()
    search.value = { text, hits: new Hits(), at: -1, done: !text, percent: 0 }
    pane?.set({ hit: null })
    if (text) timer.current = setTimeout(() => find(text), 150)
  }
  const find = async text => {
    const ctl = abort.current = new AbortController()
    const { hits } = search.value
    const show = change => {
      if (abort.current !== ctl) return
      search.value = { ...search.value, ...change }
    }
    pane.set({ hit: { find: finder(text), stamp: text, line: 0 } })
    try {
      await searchLog(run, text, ctl.signal, (found, upto, cut) => {
        if (abort.current !== ctl) return
        for (const r of found) hits.add(r.pos, Math.min(r.times || 1, 1000))
        show({ cut, percent: Math.min(100, Math.round(upto / Math.max(1, model.next - 1) * 100)) })
        if (search.value.at < 0 && hits.size) jump(hits.from(model.numberAt(pane.row) || 0))
      })
      show({ done: true, percent: 100 })
    } catch (err) { if (err.name !== 'AbortError') { tell(err.message); show({ done: true, failed: err.message }) } }
  }
  const jump = i => {
    const { hits, text } = search.value
    if (!hits.size) return
    i = (i + hits.size) % hits.size
    const { line, nth } = hits.at(i)
    search.value = { ...search.value, at: i }
    pane.set({ hit: { find: finder(text), stamp: text + '@' + i, line, nth } })
    pane.to(line)
  }
  const count = !s.text ? '' : s.failed ? 'failed' : s.done ? (s.hits.size ? `${s.at + 1} of ${group(s.hits.size)}${s.cut ? '+' : ''}` : 'none') : `${group(s.hits.size)}+, ${s.percent} %`
  return html`<div class="tools"><${Find} label=${`Find in ${total} lines`} value=${s.text} onInput=${begin}
      onKeyDown=${e => { if (e.key === 'Enter') { e.preventDefault(); jump(search.value.at + (e.shiftKey ? -1 : 1)) } }}>
      <output aria-live="polite">${count}</output>
      <button type="button" class="btn bare" aria-label="One before" title="One before" onClick=${() => jump(s.at - 1)}><${Icon} name="up" /></button>
      <button type="button" class="btn bare" aria-label="Next" title="Next" onClick=${() => jump(s.at + 1)}><${Icon} name="down" /></button><//>
    <button type="button" class="btn" aria-pressed=${String(onlyErr)} title="only lines of standard error"
      onClick=${() => { pane.setFollow(false); model.onlyErrors(!onlyErr); pane.toFirst() }}>stderr</button>
    <${Seg} cls="w1" label="Times" value=${times.value} options=${[['clock', 'Clock'], ['start', 'Since start'], ['ago', 'Ago'], ['off', 'Off']]} onPick=${v => { times.value = v }} />
    <span class="grow w1"></span>
    <button type="button" class="btn" aria-pressed=${String(wrap.value)} title="w" data-key="w" onClick=${() => { wrap.value = !wrap.value }}><${Icon} name="wrap" />Wrap</button>
    <button type="button" class="btn" aria-label="First line" title="First line (g)" data-key="g" onClick=${() => pane.toFirst()}><${Icon} name="first" /></button>
    <button type="button" class="btn" aria-label="Last line" title="Last line (G)" data-key="G" onClick=${() => pane.toLast()}><${Icon} name="end" /></button>
    <button type="button" class="btn w1" onClick=${() => copyLines(run, pane, model)}><${Icon} name="copy" />Copy</button>
    <${Download} run=${run} /></div>`
}

function Download({ run }) {
  const name = (run.name || run.id).replace(/[^\w.-]+/g, '-').slice(0, 60)
  const items = [['Output as it is', '/log', '.log'], ['Standard output', '/log?stream=stdout', '.out'], ['Standard error', '/log?stream=stderr', '.err']]
  return html`<details class="menu" onKeyDown=${e => { if (e.key === 'Escape') e.currentTarget.open = false }}>
    <summary class="btn"><${Icon} name="save" />Download</summary><div class="drop">${items.map(([text, p, ext]) =>
      html`<a href=${path(run) + p} download=${name + ext}>${text}</a>`)}
      <button type="button" class="lnk" onClick=${() => saveText(run, name)}>Text without colours</button>
      <button type="button" class="lnk" onClick=${() => saveJSON(run, name)}>Lines as JSON</button></div></details>`
}

function save(parts, name, type) {
  const a = document.createElement('a')
  a.href = URL.createObjectURL(new Blob(parts, { type }))
  a.download = name
  a.dataset.outside = ''
  a.click()
  setTimeout(() => URL.revokeObjectURL(a.href), 60e3)
}

const mostCopied = 8e6
async function saveText(run, name) {
  const text = await (await request('GET', path(run) + '/log')).text()
  save([text.split('\n').map(l => parse(l).text).join('\n')], name + '.txt', 'text/plain')
}

// saveJSON puts a log's lines together from as many answers as it takes.
async function saveJSON(run, name) {
  const parts = []
  for (let from = 1; ;) {
    const page = await get(path(run) + '/lines' + query({ from, limit: 1000, whole: 1 }))
    for (const l of page.lines) parts.push(JSON.stringify({ pos: l.n, time: l.t, stream: l.s, step: l.step, message: l.gap ? undefined : l.text, gap: l.gap }) + '\n')
    const last = page.lines[page.lines.length - 1]
    if (!last || last.n >= page.next - 1) break
    from = last.n + (last.gap?.lines || 1)
    tell(`${group(from)} of ${group(page.next - 1)} lines read`)
  }
  save(parts, name + '.jsonl', 'application/jsonl')
}

async function copyLines(run, pane, model) {
  const [a, b] = pane.chosen || [model.first, model.next - 1]
  if (b - a > 20000) { tell('that is a lot of lines: choose some, or download them'); return }
  const parts = []
  try {
    for (let from = a; from <= b;) {
      const page = await get(path(run) + '/lines' + query({ from, limit: Math.min(1000, b - from + 1), whole: 1 }))
      if (!page.lines.length) break
      for (const l of page.lines) parts.push(l.gap ? '' : parse(l.text).text)
      from = page.lines[page.lines.length - 1].n + 1
    }
  } catch (err) { tell(err.message); return }
  copy(parts.join('\n') + '\n', `${group(parts.length)} lines copied`)
}

// searchLog asks the server, which reads the whole log: each(lines that have it, the last line that
// was looked at, whether there are too many) as it goes.
async function searchLog(run, text, signal, each) {
  const res = await request('GET', path(run) + '/log/search' + query({ q: text }), { signal })
  const reader = res.body.getReader(), decoder = new TextDecoder()
  let rest = '', upto = 0, cut = false
  for (;;) {
    const { done, value } = await reader.read()
    rest += decoder.decode(value, { stream: !done })
    const lines = rest.split('\n')
    rest = lines.pop()
    const found = []
    for (const l of lines) {
      if (!l) continue
      const r = JSON.parse(l)
      if (r.error) throw new ApiError(0, r.error)
      if (r.pos) found.push(r)
      upto = r.upto ?? upto
      cut ||= !!r.cut
    }
    each(found, upto, cut)
    if (done) return
  }
}

function Pill({ model, pane, compact }) {
  const fresh = model.next - (pane.seen || model.next)
  const text = pane.follow ? 'Following' : fresh > 0 ? `${group(fresh)} new lines, follow` : 'Follow'
  return html`<button type="button" class="pill" aria-pressed=${String(pane.follow)} title="f" data-key=${compact ? null : 'f'}
    onClick=${() => { if (pane.follow) pane.setFollow(false); else pane.toLast() }}><${Icon} name="end" /><span>${text}</span></button>`
}

export function Sum({ run, model, compact }) {
  const end = model?.end
  const lines = model ? Math.max(0, (end ? end.lines ?? model.next - 1 : model.next - 1)) : run.lines
  const size = end ? end.bytes : run.bytes
  const shown = end ? { ...run, state: end.state, exitCode: end.exitCode, reason: end.reason, signal: end.signal } : run
  return html`<div class="sum"><span>${run.state === 'RUNNING' && !end ? html`<${RunState} run=${shown} /> for <${Took} from=${run.started} />` : html`<${RunState} run=${shown} />`}</span>
    ${run.ended && html`<span class="w1"><span class="k">took</span> <${Took} from=${run.started || run.created} to=${run.ended} /></span>`}
    <span>${group(lines || 0)} <span class="k">${lines === 1 ? 'line' : 'lines'}</span></span>
    ${end && html`<span class="w1">${bytes(size || 0)}</span>`}
    ${!end && model?.perSecond > 0 && html`<span class="w2"><span class="k">now</span> ${group(model.perSecond)} lines/s</span>`}
    ${end?.dropped > 0 && html`<span class="c-warn">${group(end.dropped)} lines dropped</span>`}
    ${model?.first > 1 && html`<span class="c-warn">from line ${model.first}</span>`}
    ${model && html`<${Proof} model=${model} compact=${compact} />`}</div>`
}

// Verified is said only of what this page has hashed itself.
function Proof({ model, compact }) {
  const s = model.sum
  const small = (model.end?.bytes || 0) <= 32e6
  useEffect(() => { if (s?.state === 'unknown' && !s.error && small && model.first === 1 && model.end?.sha256) model.check() }, [s?.state])
  if (model.lost) return html`<span class="c-warn">no end record, so no hash to compare</span>`
  if (!model.end || !s) return null
  if (model.first > 1) return html`<span class="dim">its beginning is gone, so it can't be verified</span>`
  if (s.state === 'verified') return html`<span class="ver"><${Icon} name="tick" /> ${compact ? 'verified' : 'sha256 verified '}${!compact && html`<code class="w1" title=${`${s.sha256}, of the ${bytes(s.bytes)} that ${s.live ? 'came live' : 'were read for it'}`}>${s.sha256.slice(0, 8)}…${s.sha256.slice(-4)}</code>`}</span>`
  if (s.state === 'checking') return html`<span class="dim">verifying, ${bytes(s.bytes || 0)} of ${bytes(model.end.bytes || 0)}</span>`
  if (s.state === 'differs') return html`<span class="st bad"><${Icon} name="failed" />sha256 differs: <code>${s.sha256.slice(0, 12)}</code>, not <code>${s.want.slice(0, 12)}</code>
    <button type="button" class="btn" onClick=${() => model.check()}>Fetch again</button></span>`
  return html`<button type="button" class="btn bare" onClick=${() => model.check()}>Verify ${bytes(model.end.bytes || 0)}</button>`
}
