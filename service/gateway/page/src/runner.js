// One runner: what it says of itself, its system, processes, files, runs.
import { html } from 'htm/preact'
import { useEffect } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, query } from './api.js'
import { here, setQuery } from './router.js'
import { bytes, duration, full, group, millis } from './time.js'
import { Ago, Empty, Icon, Problem, RunState, Seg, State, Tags, Took, useTitle } from './ui.js'
import { useTopic } from './state.js'
import { Clock, stateOf, stateWord } from './fleet.js'
import { runName } from './runs.js'

// useRead reads something of a runner, again every so many seconds while it is looked at.
function useRead(path, every) {
  const s = useSignal({ value: null, error: null })
  useEffect(() => {
    let stop = false, timer
    const look = async () => {
      try {
        const value = await get(path)
        if (!stop) s.value = { value, error: null }
      } catch (error) { if (!stop) s.value = { ...s.value, error } }
      if (!stop && every && !document.hidden) timer = setTimeout(look, every)
    }
    s.value = { value: null, error: null }
    look()
    return () => { stop = true; clearTimeout(timer) }
  }, [path])
  return s.value
}

export function Runner({ name }) {
  useTitle(name)
  const fleet = useTopic('fleet')
  const r = fleet.items.get(name)
  const tab = here.value.query.show || 'system'
  if (!r) {
    return html`<div class="head"><h1><a class="crumb" href="/fleet">Fleet</a><bdi>${name}</bdi></h1></div>${
      fleet.current && html`<${Empty} icon="offline" title="No such runner"><p>Nobody of this name is known. It may have been forgotten.</p><a class="btn" href="/fleet">To the fleet</a><//>`}`
  }
  const c = r.card, s = stateOf(r)
  const tabs = [['system', 'System'], ...(may('run') ? [['procs', 'Processes'], ['files', 'Files']] : []), ['runs', 'Runs']]
  return html`<div class="head"><h1><a class="crumb" href="/fleet">Fleet</a><bdi>${name}</bdi></h1><${State} word=${stateWord(s)} big />
      <span class="sub1 w1">${r.online ? 'seen' : 'last seen'} <${Ago} t=${r.seen} /></span><span class="w2 tags"><${Tags} tags=${c.labels} /></span>
      <div class="acts1">${may('run') && html`<a class="btn" href=${'/new?on=' + encodeURIComponent(name)}><${Icon} name="plus" />Run on it</a>`}</div></div>
    <div class="bar"><${Seg} label="Shown" value=${tab} options=${tabs} onPick=${v => setQuery({ show: v, path: '' })} /></div>
    ${c.error && html`<div class="sheet notice bad" role="alert"><${Icon} name="unhealthy" /><span><b>${c.error}</b></span></div>`}
    ${tab === 'system' ? html`<${System} r=${r} />` : tab === 'procs' ? html`<${Processes} name=${name} />` : tab === 'files' ? html`<${Files} name=${name} />` : html`<${ItsRuns} name=${name} />`}`
}

const row = (k, v) => v !== undefined && v !== '' && v !== null && v !== false && html`<dt>${k}</dt><dd>${v}</dd>`

function System({ r }) {
  const c = r.card
  const { value: sys, error } = useRead(`/api/v1/runners/${encodeURIComponent(r.name)}/glance/sys`, 5000)
  return html`<div class="two"><section class="sheet" aria-label="Runner"><header><h2>Runner</h2></header><dl class="facts">
      ${row('Host', html`<bdi>${c.host}</bdi>`)}${row('Version', c.version)}${row('Places', `${c.running || 0} of ${c.slots} in use${c.pending ? `, ${c.pending} wait` : ''}`)}
      ${row('Pools', (c.pools || []).join(', '))}${row('Labels', Object.keys(c.labels || {}).length > 0 && html`<${Tags} tags=${c.labels} />` || null)}
      ${row('Clock', html`<${Clock} seconds=${c.clockOffset} />`)}${row('Started', full(millis(c.started)))}
      ${row('System', `${c.osName || c.os} ${c.arch}`)}${row('Isolation', (c.isolation || []).join(', '))}${row('Languages', (c.languages || []).join(', '))}
      ${(c.missing || []).map(x => row('Missing', x))}</dl></section>
    <section class="sheet" aria-label="Host"><header><h2>Host</h2>${sys && html`<span class="dim">as of now</span>`}</header>
      ${error && !sys ? html`<p class="say pad">Cannot look at the host: ${error.message}</p>` : !sys ? html`<p class="say pad">reading</p>` : html`<dl class="facts">${facts(sys)}</dl>`}</section></div>`
}

// facts of a look at the system; total and used are the host's own words
function facts({ stats: t = {}, resource: q = {} }) {
  const of = u => u?.total && `${u.used || '?'} of ${u.total}`
  return html`${row('Processor', of(t.cpu))}${row('Load', t.load !== undefined && Number(t.load).toFixed(2))}${row('Memory', of(t.memory))}${row('Storage', of(t.storage))}
    ${row('System', t.os)}${row('Up for', t.uptime > 0 && duration(Number(t.uptime) * 1000))}${row('Processes', t.processCount > 0 && group(t.processCount))}
    ${row('To give', q.allocatable && `${(q.allocatable.milliCPU || 0) / 1000} processors, ${bytes(q.allocatable.memory || 0)}`)}`
}

function Processes({ name }) {
  const { value, error } = useRead(`/api/v1/runners/${encodeURIComponent(name)}/glance/procs` + query({ top: 100, sort: 'cpu' }), 5000)
  const list = (value?.stats?.processes || []).map(p => p.process || p)
  if (error && !value) return html`<${Problem} what="Cannot list the processes" error=${error} />`
  return html`<div class="sheet"><table><caption class="vh">Processes, those that use most first</caption><thead><tr><th class="num">Pid</th><th>Name</th><th class="num">Processor</th><th class="num">Memory</th><th class="w2">Command line</th></tr></thead><tbody>
    ${list.map(p => html`<tr key=${p.pid}><td class="num">${p.pid}</td><th scope="row" class="main"><bdi>${p.name}</bdi></th><td class="num">${duration(Number(p.time || 0) * 1000)}</td><td class="num">${bytes(Number(p.memory || 0))}</td><td class="w2 mono fill">${p.cmdline}</td></tr>`)}</tbody></table></div>`
}

function Files({ name }) {
  const path = here.value.query.path || '/'
  const base = `/api/v1/runners/${encodeURIComponent(name)}/glance/`
  const file = useSignal(null)
  const { value, error } = useRead(base + 'dir' + query({ path, limit: 500 }))
  const to = p => `?show=files&path=${encodeURIComponent(p)}`
  const parts = path.split('/').filter(Boolean)
  const join = n => (path.endsWith('/') ? path : path + '/') + n
  const open = async p => {
    try { file.value = { path: p, ...(await get(base + 'file' + query({ path: p, length: 65536 }))) } } catch (err) { file.value = { path: p, error: err } }
  }
  useEffect(() => { file.value = null }, [path])
  const entries = value?.entries || []
  return html`<div class="bar path" role="navigation" aria-label="Path"><a href=${location.pathname + to('/')}>/</a>${parts.map((p, i) => html`<a href=${location.pathname + to('/' + parts.slice(0, i + 1).join('/'))}><bdi>${p}</bdi></a><span class="dim3">/</span>`)}</div>
    ${error && html`<${Problem} what=${`Cannot list ${path}`} error=${error} />`}
    <div class=${file.value ? 'two' : ''}><div class="sheet"><table><caption class="vh">Files in ${path}</caption><thead><tr><th>Name</th><th class="num">Size</th><th class="num w1">Changed</th><th class="w2">Mode</th></tr></thead><tbody>
      ${entries.map(e => { const dir = e.isDir; return html`<tr key=${e.name}><th scope="row" class="main">${dir ? html`<a href=${location.pathname + to(join(e.name))}><bdi>${e.name}</bdi>/</a>` : html`<button type="button" class="lnk name" onClick=${() => open(join(e.name))}><bdi>${e.name}</bdi></button>`}</th>
        <td class="num">${dir ? '' : bytes(Number(e.size || 0))}</td><td class="num w1">${html`<${Ago} t=${e.modified} />`}</td><td class="w2 mono">${e.mode}</td></tr>` })}</tbody></table>
      ${value && !entries.length && html`<p class="say pad">This directory is empty.</p>`}</div>
    ${file.value && html`<section class="sheet" aria-label="File"><header><h2 class="wrapany"><bdi>${file.value.path}</bdi></h2></header>${file.value.error ? html`<p class="say pad">Cannot show it: ${file.value.error.message}</p>` : html`<div class="form"><pre class="code" tabindex="0">${file.value.readable === false ? 'This is not text.' : file.value.content}</pre></div>`}</section>`}</div>`
}

function ItsRuns({ name }) {
  const s = useRead('/api/v1/runs' + query({ runner: name, limit: 100 }), 5000)
  const runs = s.value?.runs || []
  if (s.value && !runs.length) return html`<${Empty} icon="pending" title="Nothing has run here" code=${`runnel run --on ${name} -- uptime`} />`
  return html`<div class="sheet"><table><caption class="vh">Its runs, newest first</caption><thead><tr><th>Run</th><th>State</th><th class="num w1">Started</th><th class="num">Took</th><th class="w1">Command</th></tr></thead><tbody>${runs.map(run =>
    html`<tr key=${run.id}><th scope="row" class="main"><a href=${'/runs/' + encodeURIComponent(run.id)}><bdi>${runName(run)}</bdi></a></th><td><${RunState} run=${run} /></td><td class="num w1"><${Ago} t=${run.started || run.created} /></td><td class="num"><${Took} from=${run.started} to=${run.ended} /></td><td class="w1 mono fill">${run.command}</td></tr>`)}</tbody></table></div>`
}
