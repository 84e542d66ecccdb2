// All runs, newest first: live, endless, filtered; a fan-out is one row.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, now, post } from './api.js'
import { here, setQuery } from './router.js'
import { millis, group } from './time.js'
import { Ago, Empty, Find, Icon, Problem, RunState, State, Tags, Took, isFinal, tell, useTitle, wentWell } from './ui.js'
import { useTopic } from './state.js'
import { link } from './link.js'

const states = ['PENDING', 'RUNNING', 'COMPLETE', 'FAILED', 'ABORTED', 'TIMEDOUT']
const sinces = [['', 'any time'], ['1h', 'last hour'], ['24h', 'last day'], ['168h', 'last 7 days']]

// What the filter says, as the API has it: words with = are tags.
function readFilter(q) {
  const words = (q.text || '').split(/\s+/).filter(Boolean)
  const tag = words.filter(w => /^[^=\s]+=[^=]*$/.test(w))
  const text = words.filter(w => !tag.includes(w)).join(' ')
  return { state: q.state || '', runner: q.runner || '', since: q.since || '', tag, text }
}

function matches(run, f, from) {
  if (f.state && run.state !== f.state) return false
  if (f.runner && run.runner !== f.runner) return false
  if (from && millis(run.created) < from) return false
  for (const t of f.tag) { const [k, ...v] = t.split('='); if (run.tags?.[k] !== v.join('=')) return false }
  if (!f.text) return true
  const all = [run.id, run.name, run.command, run.runner, run.reason, run.error, ...Object.entries(run.tags || {}).map(e => e.join('='))]
  return all.some(s => s && s.toLowerCase().includes(f.text.toLowerCase()))
}

const newer = (a, b) => millis(b.created) - millis(a.created) || (a.id < b.id ? 1 : -1)

export function pathOf(f, from, next, limit = 100) {
  const q = new URLSearchParams()
  if (f.state) q.append('state', f.state)
  if (f.runner) q.append('runner', f.runner)
  for (const t of f.tag) q.append('tag', t)
  if (f.text) q.append('text', f.text)
  if (from) q.append('since', new Date(from).toISOString())
  if (next) q.append('next', next)
  q.append('limit', limit)
  return '/api/v1/runs?' + q
}

// restOfGroups are the runs of fan-outs that a page's end cuts: a row counts all of its hosts.
const cutWithin = 60e3 // ms in which a fan-out starts all its runs
async function restOfGroups(f, from, page) {
  const last = page.runs[page.runs.length - 1]
  if (!page.next || !last) return []
  const ids = new Set(page.runs.filter(r => r.group && millis(r.created) - millis(last.created) < cutWithin).map(r => r.group))
  const all = []
  for (const id of ids) {
    for (let next = ''; ;) {
      const more = await get(pathOf(f, from, next, 1000) + '&group=' + encodeURIComponent(id))
      all.push(...more.runs)
      next = more.next
      if (!next) break
    }
  }
  return all
}

// groupRows makes one row of the runs of a fan-out.
function groupRows(runs) {
  const rows = [], groups = new Map()
  for (const run of runs) {
    if (!run.group) { rows.push({ run }); continue }
    const had = groups.get(run.group)
    if (had) had.runs.push(run)
    else {
      const row = { group: run.group, runs: [run] }
      groups.set(run.group, row)
      rows.push(row)
    }
  }
  return rows.map(r => (r.runs?.length === 1 && !r.group ? { run: r.runs[0] } : r))
}

export function Runs() {
  useTitle('Runs')
  const q = here.value.query
  const f = readFilter(q)
  const key = JSON.stringify(f)
  const list = useSignal({ runs: new Map(), next: '', loading: true, error: null })
  const chosen = useSignal(new Set())
  const held = useSignal([]) // ids of new runs that wait while somebody points at the list
  const busy = useRef(false)
  const from = useRef(0)
  const live = useTopic('runs')
  const more = useRef(), sentinel = useRef(), dialog = useRef()
  const text = useSignal(q.text || '')
  const typing = useRef()

  const load = async next => {
    const mine = more.current = {}
    if (!next) from.current = f.since ? now() - parseInt(f.since, 10) * 3600e3 : 0
    list.value = { ...list.value, loading: true }
    try {
      const page = await get(pathOf(f, from.current, next))
      if (more.current !== mine) return
      const runs = new Map(next ? list.value.runs : [])
      for (const r of [...page.runs, ...await restOfGroups(f, from.current, page)]) runs.set(r.id, r)
      if (more.current !== mine) return
      list.value = { runs, next: page.next, loading: false, error: null }
    } catch (error) { if (more.current === mine) list.value = { ...list.value, loading: false, error } }
  }
  useEffect(() => { load('') }, [key])
  // Whoever could not tell can, as soon as something has run.
  useEffect(() => { if (list.value.error && live.items.size) load('') }, [live.items.size])
  useEffect(() => {
    const seen = new IntersectionObserver(e => { if (e[0].isIntersecting && list.value.next && !list.value.loading) load(list.value.next) }, { rootMargin: '600px' })
    if (sentinel.current) seen.observe(sentinel.current)
    return () => seen.disconnect()
  }, [key, list.value.next])

  // What events tell: rows change in place, new ones wait while somebody points or has scrolled.
  useEffect(() => {
    if (list.value.loading) return
    const runs = new Map(list.value.runs), fresh = []
    const newest = Math.max(0, ...[...runs.values()].map(r => millis(r.created)))
    for (const r of live.items.values()) {
      if (runs.has(r.id)) { if (matches(r, { ...f, state: '' }, from.current)) runs.set(r.id, r) } else if (matches(r, f, from.current) && (millis(r.created) >= newest || !list.value.next)) fresh.push(r)
    }
    if (fresh.length && (busy.current || scrollY > 200) && runs.size) held.value = fresh.map(r => r.id)
    else {
      for (const r of fresh) runs.set(r.id, r)
      held.value = []
    }
    list.value = { ...list.value, runs }
  }, [live, list.value.loading])
  const showNew = () => {
    const runs = new Map(list.value.runs)
    for (const id of held.value) if (live.items.has(id)) runs.set(id, live.items.get(id))
    held.value = []
    list.value = { ...list.value, runs }
    scrollTo(0, 0)
  }

  const all = [...list.value.runs.values()].sort(newer)
  const rows = groupRows(all)
  const filtered = key !== JSON.stringify(readFilter({}))
  const picked = all.filter(r => chosen.value.has(r.id) && !isFinal(r))
  const type = v => { text.value = v; clearTimeout(typing.current); typing.current = setTimeout(() => setQuery({ text: v }), 250) }
  const nobody = /^no runners available/i.test(list.value.error?.message) && !rows.length
  const going = [...live.items.values()].filter(r => r.state === 'RUNNING').length
  return html`<div class="head"><h1>Runs</h1>${going > 0 && html`<${State} word=${`${group(going)} going`} shape="running" colour="run" />`}
    <div class="acts1">${picked.length > 0 && html`<button type="button" class="btn harm" disabled=${link.value.state === 'cut'} onClick=${() => dialog.current.showModal()}><${Icon} name="aborted" />Abort ${picked.length}</button>`}</div></div>
    <div class="bar"><${Find} label="Name, text, or tag=value" value=${text.value} onInput=${type} />
      <span class="fld"><label class="dim" for="fstate">State</label><select id="fstate" value=${f.state} onChange=${e => setQuery({ state: e.target.value })}><option value="">any</option>${states.map(s => html`<option value=${s}>${s}</option>`)}</select></span>
      <span class="fld"><label class="dim" for="fsince">Since</label><select id="fsince" value=${f.since} onChange=${e => setQuery({ since: e.target.value })}>${sinces.map(([v, t]) => html`<option value=${v}>${t}</option>`)}</select></span>
      ${f.runner && html`<button type="button" class="chip" aria-pressed="true" onClick=${() => setQuery({ runner: '' })}>on <bdi>${f.runner}</bdi> <${Icon} name="failed" /></button>`}
      ${held.value.length > 0 && html`<button type="button" class="chip" onClick=${showNew}><${Icon} name="up" /><b>${held.value.length}</b> new</button>`}</div>
    ${live.refused && html`<${Problem} what="Cannot follow the runs" error=${live.refused} />`}
    ${nobody ? html`<${Empty} icon="offline" title="No runners yet" label="Runs" code="runnel serve --server nats://10.0.0.1:4222"><p>Runners tell what has run, and none is there. Start one on any machine that reaches this NATS server.</p><//>`
      : list.value.error && html`<${Problem} what="Cannot list the runs" error=${list.value.error} />`}
    ${!list.value.loading && !rows.length && !list.value.error ? (filtered
      ? html`<${Empty} icon="find" title="No run matches" label="Runs"><p>Nothing is left by this filter.</p><button type="button" class="btn" onClick=${() => { text.value = ''; setQuery({ text: '', state: '', runner: '', since: '' }) }}>Clear the filter</button><//>`
      : html`<${Empty} icon="pending" title="Nothing has run yet" label="Runs" code="runnel run -- uptime"><p>Whatever runs on the fleet is listed here, from this page, the command line or any NATS client.</p><//>`)
      : !nobody && html`<div class="sheet" onPointerEnter=${() => { busy.current = true }} onPointerLeave=${() => { busy.current = false }}>
        <table><caption class="vh">Runs, newest first</caption><thead><tr>${may('run') && html`<th class="pick"><span class="vh">Choose</span></th>`}<th>Run</th><th>State</th><th class="w1">Runner</th><th class="num w1">Started</th><th class="num">Took</th><th class="w2">Command</th><th class="w3">Tags</th><th class="num w2">Lines</th></tr></thead>
        <tbody>${rows.map(r => (r.run ? html`<${Row} key=${r.run.id} run=${r.run} chosen=${chosen} />` : html`<${GroupRow} key=${r.group} group=${r.group} runs=${r.runs} />`))}</tbody></table>
        <div class="more" ref=${sentinel}>${list.value.loading ? 'reading' : list.value.next ? 'more come as you scroll' : `${group(all.length)} runs, all that match`}</div></div>`}
    <dialog class="keys" ref=${dialog} aria-label="Abort"><h2>Abort ${picked.length} ${picked.length === 1 ? 'run' : 'runs'}?</h2>
      <ul class="say">${picked.slice(0, 8).map(r => html`<li><bdi>${r.name || r.command || r.id}</bdi> on <bdi>${r.runner}</bdi></li>`)}${picked.length > 8 && html`<li>and ${picked.length - 8} more</li>`}</ul>
      <form method="dialog" class="chips"><button class="btn harm" onClick=${() => abort(picked, chosen)}>Abort</button><button class="btn">Leave</button></form></dialog>`
}

async function abort(runs, chosen) {
  chosen.value = new Set()
  const results = await Promise.allSettled(runs.map(r => post(`/api/v1/runs/${encodeURIComponent(r.id)}/abort`)))
  const bad = results.find(r => r.status === 'rejected')
  tell(bad ? 'cannot abort: ' + bad.reason.message : `asked for the end of ${runs.length}`)
}

export const runName = run => run.name || run.command || run.id

function Row({ run, chosen }) {
  const on = chosen.value.has(run.id)
  const pick = () => {
    const next = new Set(chosen.value)
    if (on) next.delete(run.id); else next.add(run.id)
    chosen.value = next
  }
  return html`<tr aria-selected=${on ? 'true' : null}>
    ${may('run') && html`<td class="pick">${!isFinal(run) && html`<input type="checkbox" checked=${on} onChange=${pick} aria-label=${'Choose ' + runName(run)} />`}</td>`}
    <th scope="row" class="main"><a href=${'/runs/' + encodeURIComponent(run.id)}><bdi>${runName(run)}</bdi></a><span class="narrow">on <bdi>${run.runner}</bdi>, <${Ago} t=${run.started || run.created} /></span></th>
    <td><${RunState} run=${run} /></td><td class="w1 cell"><bdi>${run.runner}</bdi></td>
    <td class="num w1"><${Ago} t=${run.started || run.created} /></td><td class="num"><${Took} from=${run.started} to=${run.ended} /></td>
    <td class="w2 mono fill" title=${run.command}>${run.command}</td><td class="w3 cell"><${Tags} tags=${run.tags} /></td><td class="num w2">${isFinal(run) ? group(run.lines || 0) : html`<span class="dim3">–</span>`}</td></tr>`
}

// counts of a fan-out's states, trouble first
export function countsOf(runs) {
  const n = { bad: 0, warn: 0, run: 0, wait: 0, ok: 0 }
  for (const r of runs) {
    if (!isFinal(r)) n[r.state === 'PENDING' ? 'wait' : 'run']++
    else if (wentWell(r)) n.ok++
    else if (r.state === 'ABORTED') n.warn++
    else n.bad++
  }
  return n
}

export function Proportion({ counts, total }) {
  let x = 0
  const parts = [['bad', counts.bad], ['warn', counts.warn + (counts.missing || 0)], ['run', counts.run], ['ok', counts.ok]]
  const words = [[counts.bad, 'failed'], [counts.warn, 'aborted'], [counts.missing, 'missing'], [counts.run + counts.wait, 'going'], [counts.ok, 'good']].filter(p => p[0]).map(p => p.join(' ')).join(', ')
  return html`<svg class="prop" viewBox=${`0 0 ${Math.max(1, total)} 8`} preserveAspectRatio="none" role="img" aria-label=${words || 'none'}>
    ${parts.filter(p => p[1]).map(([k, n]) => { const r = html`<rect class=${'p-' + k} x=${x} width=${n} height="8" />`; x += n; return r })}</svg>`
}

function GroupRow({ group: id, runs }) {
  const c = countsOf(runs), first = runs[runs.length - 1]
  const done = runs.every(isFinal)
  const shape = !done ? ['running', 'run'] : c.bad ? ['failed', 'bad'] : c.warn ? ['aborted', 'warn'] : ['complete', 'ok']
  const ended = done ? runs.map(r => r.ended).sort().pop() : ''
  return html`<tr>${may('run') && html`<td class="pick"></td>`}
    <th scope="row" class="main"><a href=${'/fanout/' + encodeURIComponent(id)}><bdi>${runName(first)}</bdi></a><span class="narrow">${runs.length} hosts, <${Ago} t=${first.created} /></span></th>
    <td><${State} word=${c.bad ? `${c.bad} of ${runs.length} failed` : done ? `${c.ok} of ${runs.length} good` : `${c.ok} of ${runs.length} ended`} shape=${shape[0]} colour=${shape[1]} /></td>
    <td class="w1"><${Proportion} counts=${c} total=${runs.length} /><span class="dim">${runs.length} hosts</span></td>
    <td class="num w1"><${Ago} t=${first.started || first.created} /></td><td class="num"><${Took} from=${first.created} to=${ended} /></td>
    <td class="w2 mono fill" title=${first.command}>${first.command}</td><td class="w3 cell"><${Tags} tags=${first.tags} /></td><td class="num w2">${group(runs.reduce((s, r) => s + (r.lines || 0), 0))}</td></tr>`
}
