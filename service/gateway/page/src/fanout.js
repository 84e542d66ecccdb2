// A fan-out: hosts by state and last line, trouble first, up to three logs side by side.
import { html } from 'htm/preact'
import { useEffect } from 'preact/hooks'
import { useComputed, useSignal } from '@preact/signals'
import { get, may, now, post, query } from './api.js'
import { millis, duration, second } from './time.js'
import { Ago, Chip, Empty, Find, Icon, Problem, RunState, Seg, State, Took, isFinal, look, tell, useTitle, wentWell } from './ui.js'
import { useTopic } from './state.js'
import { Proportion, countsOf, runName } from './runs.js'
import { LogView } from './logview.js'
import { parse } from './ansi.js'
import { link } from './link.js'

const lineBatch = 200   // runs asked about together
const linesAgain = 3000 // ms until those that go on are asked about again

// useLastLines has the last line of each run: of all at first, then of those that have not ended.
function useLastLines(id, runs) {
  const lines = useSignal({})
  useEffect(() => {
    let stop = false, timer
    const ended = new Set()
    const read = async params => {
      const got = await get('/api/v1/last-lines?' + params)
      const change = {}
      for (const r of got.runs) {
        change[r.id] = { text: parse(r.text).text, t: r.t ? Number(r.t) / 1e6 : 0 }
        if (isFinal(r)) ended.add(r.id)
      }
      if (!stop) lines.value = { ...lines.value, ...change }
      return got
    }
    const look = async first => {
      let again = linesAgain
      try {
        if (first) {
          for (let next = ''; ;) {
            next = (await read(new URLSearchParams({ group: id, ...(next && { next }) }))).next
            if (stop || !next) break
          }
        } else if (!document.hidden) {
          const left = runs.current.map(r => r.id).filter(x => !ended.has(x))
          for (let i = 0; i < left.length && !stop; i += lineBatch) await read(new URLSearchParams(left.slice(i, i + lineBatch).map(x => ['run', x])))
        }
        first = false
      } catch { again *= 2 } // as the view says by other means
      if (!stop) timer = setTimeout(() => look(first), again)
    }
    look(true)
    return () => { stop = true; clearTimeout(timer) }
  }, [id])
  return lines.value
}

const rank = r => (!isFinal(r) ? 2 : wentWell(r) ? 3 : r.state === 'ABORTED' ? 1 : 0)
const took = r => (millis(r.ended) || now()) - (millis(r.started) || millis(r.created))
const width = 50

export function Fanout({ id }) {
  const read = useSignal({ runs: [], loading: true, error: null })
  const live = useTopic('runs')
  const text = useSignal(''), only = useSignal(''), by = useSignal('host'), shown = useSignal([])
  useEffect(() => {
    let stop = false
    const load = async () => {
      const runs = []
      try {
        for (let next = ''; ;) {
          const page = await get('/api/v1/runs' + query({ group: id, limit: 1000, next }))
          runs.push(...page.runs)
          next = page.next
          if (!next || stop) break
        }
        if (!stop) read.value = { runs, loading: false, error: null }
      } catch (error) { if (!stop) read.value = { runs, loading: false, error } }
    }
    load()
    return () => { stop = true }
  }, [id])
  const all = new Map(read.value.runs.map(r => [r.id, r]))
  for (const r of live.items.values()) if (r.group === id && !(isFinal(all.get(r.id)) && !isFinal(r))) all.set(r.id, r)
  const runs = [...all.values()].sort((a, b) => a.runner.localeCompare(b.runner, 'en', { numeric: true }))
  const ref = useSignal({ current: runs }).peek()
  ref.current = runs
  const lines = useLastLines(id, ref)
  const name = runs.length ? runName(runs[0]) : id
  useTitle(name)
  if (read.value.error && !runs.length) return html`<div class="head"><h1><a class="crumb" href="/runs">Runs</a>${id}</h1></div><${Problem} what="Cannot show this fan-out" error=${read.value.error} />`
  if (!read.value.loading && !runs.length) return html`<div class="head"><h1><a class="crumb" href="/runs">Runs</a>${id}</h1></div><${Empty} icon="missing" title="No runs of this fan-out" label="Fan-out"><p>Records are kept for seven days after the end.</p><//>`
  const c = countsOf(runs), going = runs.filter(r => !isFinal(r))
  const kinds = [['bad', 'failed', 'failed', 'bad'], ['warn', 'aborted', 'aborted', 'warn'], ['run', 'running', 'running', 'run'], ['wait', 'pending', 'waiting', 'off'], ['ok', 'complete', 'good', 'ok']]
  const kindOf = r => (!isFinal(r) ? (r.state === 'PENDING' ? 'wait' : 'run') : wentWell(r) ? 'ok' : r.state === 'ABORTED' ? 'warn' : 'bad')
  const lower = text.value.toLowerCase()
  const ended = runs.filter(isFinal).map(took).sort((a, b) => a - b)
  const half = ended.length >= runs.length / 2 ? ended[Math.floor((ended.length - 1) / 2)] : 0
  const slow = r => r.state === 'RUNNING' && ended.length > runs.length / 2 && lines[r.id]?.t
  const rows = runs.filter(r => (!only.value || kindOf(r) === only.value) && (!lower || r.runner.toLowerCase().includes(lower) || lines[r.id]?.text.toLowerCase().includes(lower)))
    .sort((a, b) => rank(a) - rank(b) || took(b) - took(a))
  const logs = (shown.value.length ? shown.value : rows.slice(0, 1).map(r => r.id)).filter(x => all.has(x)).slice(0, 3)
  const choose = r => { shown.value = logs.includes(r.id) && shown.value.length ? shown.value.filter(x => x !== r.id) : [...shown.value, r.id].slice(-3) }
  const abort = async () => {
    const results = await Promise.allSettled(going.map(r => post(`/api/v1/runs/${encodeURIComponent(r.id)}/abort`)))
    const bad = results.find(x => x.status === 'rejected')
    tell(bad ? 'cannot abort: ' + bad.reason.message : `asked for the end of ${going.length}`)
  }
  return html`<div class="head"><h1><a class="crumb" href="/runs">Runs</a><bdi>${name}</bdi></h1>
      <${State} word=${going.length ? `${runs.length - going.length} of ${runs.length} ended` : c.bad ? `${c.bad} of ${runs.length} failed` : `${c.ok} of ${runs.length} good`} shape=${going.length ? 'running' : c.bad ? 'failed' : c.warn ? 'aborted' : 'complete'} colour=${going.length ? 'run' : c.bad ? 'bad' : c.warn ? 'warn' : 'ok'} big />
      <span class="sub1 w1">started <${Ago} t=${runs[0]?.created} />${half > 0 && html`, half within ${duration(half)}`}</span>
      <div class="acts1">${going.length > 0 && may('run') && html`<button type="button" class="btn harm" disabled=${link.value.state === 'cut'} onClick=${abort}><${Icon} name="aborted" />Abort ${going.length}</button>`}</div></div>
    <div class="bar"><div class="wide"><${Proportion} counts=${c} total=${runs.length} /></div>
      ${kinds.filter(([k]) => c[k]).map(([k, icon, word, colour]) => html`<${Chip} icon=${icon} colour=${colour} n=${c[k]} word=${word} on=${only.value === k} onClick=${() => { only.value = only.value === k ? '' : k }} />`)}
      <${Find} label="Host or text of the last line" value=${text.value} onInput=${v => { text.value = v }} /></div>
    <div class="work"><div class="lst" tabindex="0" role="region" aria-label="Hosts">
      <figure class="map"><${Map2} runs=${runs} kindOf=${kindOf} /><figcaption><${Seg} label="Shown as" value=${by.value} options=${[['host', 'By host'], ['output', 'By same output']]} onPick=${v => { by.value = v }} /><span>${runs.length} ${runs.length === 1 ? 'host' : 'hosts'} in order of name</span></figcaption></figure>
      ${by.value === 'output' ? html`<${Same} runs=${rows} lines=${lines} choose=${choose} />` : html`<table><caption class="vh">Hosts, trouble first, then slowest first</caption><thead><tr><th class="pick"><span class="vh">Log</span></th><th>Host</th><th>State</th><th class="num w1">For</th><th class="w1">Last line</th></tr></thead><tbody>
        ${rows.slice(0, 1000).map(r => html`<tr key=${r.id} class=${logs.includes(r.id) ? 'sel' : ''}><td class="pick"><input type="checkbox" checked=${logs.includes(r.id)} onChange=${() => choose(r)} aria-label=${'Show the log of ' + r.runner} /></td>
          <th scope="row" class="main"><a href=${'/runs/' + encodeURIComponent(r.id)}><bdi>${r.runner}</bdi></a><span class="narrow">${lines[r.id]?.text}</span></th><td><${RunState} run=${r} />${slow(r) && html`<${Stuck} since=${lines[r.id].t} />`}</td>
          <td class="num w1"><${Took} from=${r.started} to=${r.ended} /></td><td class="mono fill w1" title=${lines[r.id]?.text}>${lines[r.id]?.text}</td></tr>`)}</tbody></table>`}</div>
      <div class="panes">${logs.map(x => all.get(x)).map(r => html`<section class="pane" key=${r.id} aria-label=${r.runner}><header><h2><a href=${'/runs/' + encodeURIComponent(r.id)}><bdi>${r.runner}</bdi></a></h2><span class="grow"></span><${RunState} run=${r} /></header><${LogView} run=${r} compact label=${r.runner} /></section>`)}</div></div>`
}

// Stuck is said of who has printed nothing for a while, when most have ended; it ticks by itself.
function Stuck({ since }) {
  const at = useSignal(0)
  at.value = since
  const text = useComputed(() => { second.value; return now() - at.value > 20e3 ? ' stuck?' : '' })
  return html`<span class="c-warn">${text}</span>`
}

// each host keeps its place by name; only its mark changes
function Map2({ runs, kindOf }) {
  const rows = Math.max(1, Math.ceil(runs.length / width))
  const marks = { ok: 'M1 2h6v4h-6z', bad: 'm1 1 6 6m0-6-6 6', warn: 'M4 0l4 4-4 4-4-4z', run: 'M1 0l7 4-7 4z', wait: 'M3 3h2v2h-2z' }
  const words = Object.entries(countsOf(runs)).filter(e => e[1]).map(([k, n]) => `${n} ${{ bad: 'failed', warn: 'aborted', run: 'running', wait: 'waiting', ok: 'good' }[k]}`).join(', ')
  return html`<svg viewBox=${`0 0 ${width * 10} ${rows * 10}`} role="img" aria-label=${`${runs.length} hosts in order of name: ${words}`}>${runs.map((r, i) => html`<g transform=${`translate(${(i % width) * 10 + 1} ${Math.floor(i / width) * 10 + 1})`}><title>${r.runner}</title><path class=${'k-' + kindOf(r)} d=${marks[kindOf(r)]} /></g>`)}</svg>`
}

function Same({ runs, lines, choose }) {
  const groups = new Map()
  for (const r of runs) {
    const key = isFinal(r) ? `${r.exitCode}\n${r.sha256}` : 'going'
    if (!groups.has(key)) groups.set(key, [])
    groups.get(key).push(r)
  }
  return html`<table><caption class="vh">Hosts with the same output together</caption><thead><tr><th>Hosts</th><th>State</th><th class="w1">Last line</th></tr></thead><tbody>${[...groups.values()].sort((a, b) => rank(a[0]) - rank(b[0]) || a.length - b.length).map(g =>
    html`<tr key=${g[0].id}><th scope="row" class="main"><button type="button" class="lnk name" onClick=${() => choose(g[0])} title=${g.map(r => r.runner).join(', ')}>${g.length === 1 ? g[0].runner : `${g.length} hosts`}</button><span class="narrow">${g.slice(0, 5).map(r => r.runner).join(', ')}</span></th><td><${RunState} run=${g[0]} /></td><td class="mono fill w1">${lines[g[0].id]?.text}</td></tr>`)}</tbody></table>`
}
