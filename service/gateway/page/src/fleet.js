// Every runner, live; trouble first.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, now, query } from './api.js'
import { here, setQuery } from './router.js'
import { group, millis, signed } from './time.js'
import { Ago, Chip, Empty, Find, Icon, Meter, Problem, Seg, State, Tags, kept, useTitle } from './ui.js'
import { useTopic } from './state.js'

const shape = kept('fleet', 'table')

export function stateOf(r) {
  const c = r.card
  if (!r.online) return c.state === 'stopped' ? 'gone' : 'offline'
  if (c.state === 'draining') return 'draining'
  if (c.error || c.state === 'unhealthy') return 'unhealthy'
  return 'online'
}
const order = ['unhealthy', 'draining', 'offline', 'gone', 'online']
const icons = { unhealthy: ['unhealthy', 'bad'], draining: ['draining', 'warn'], offline: ['offline', 'off'], gone: ['offline', 'off'], online: ['online', 'ok'] }
const words = { gone: 'stopped' }
export const stateWord = s => words[s] || s

// seconds that a runner's clock is off, as people say it
export function clockOf(seconds) {
  if (seconds === undefined || seconds === null) return ['–', false]
  const ms = seconds * 1000
  const text = Math.abs(ms) < 1000 ? signed(Number(ms.toFixed(1))) + ' ms' : signed(Number(seconds.toFixed(2))) + ' s'
  return [text, Math.abs(seconds) > 1]
}
export const Clock = ({ seconds }) => {
  const [text, bad] = clockOf(seconds)
  return bad ? html`<span class="c-warn">${text} !</span>` : text === '–' ? html`<span class="dim3">–</span>` : text
}

const isExpression = text => /[=<>!&|"()]|\bin\b|\bhas\b|\bmatches\b/.test(text)
const has = (r, text) => {
  const c = r.card
  const all = [r.name, c.host, c.version, c.osName, c.os, c.arch, c.state, ...(c.pools || []), ...Object.entries(c.labels || {}).map(e => e.join('='))]
  return all.some(s => s && s.toLowerCase().includes(text.toLowerCase()))
}

export function Fleet() {
  useTitle('Fleet')
  const { items, current, refused } = useTopic('fleet')
  const q = here.value.query
  const text = useSignal(q.where || '')
  const named = useSignal(null), problem = useSignal(null)
  const timer = useRef()
  useEffect(() => {
    clearTimeout(timer.current)
    problem.value = null
    if (!isExpression(text.value)) { named.value = null; return }
    const wanted = text.value
    timer.current = setTimeout(async () => {
      try {
        const got = await get('/api/v1/runners' + query({ where: wanted }))
        if (text.value === wanted) { named.value = new Set(got.runners.map(r => r.name)); problem.value = null }
      } catch (err) { if (text.value === wanted) { named.value = new Set(); problem.value = err } }
    }, 250)
  }, [text.value, items.size])
  const only = q.state || ''
  const all = [...items.values()]
  const counts = {}
  for (const r of all) counts[stateOf(r)] = (counts[stateOf(r)] || 0) + 1
  const rows = all.filter(r => (!only || stateOf(r) === only) && (named.value ? named.value.has(r.name) : has(r, text.value)))
    .sort((a, b) => order.indexOf(stateOf(a)) - order.indexOf(stateOf(b)) || a.name.localeCompare(b.name, 'en', { numeric: true }))
  const slots = all.reduce((s, r) => s + (r.online ? r.card.slots || 0 : 0), 0), used = all.reduce((s, r) => s + (r.online ? r.card.running || 0 : 0), 0)
  const type = v => { text.value = v; setQuery({ where: v }) }
  if (current && !all.length) {
    return html`<div class="head"><h1>Fleet</h1></div><${Empty} icon="offline" title="No runners yet" label="Fleet" code="runnel serve --server nats://10.0.0.1:4222"><p>Start one on any machine that reaches this NATS server. It shows up here within a second.</p><//>`
  }
  return html`<div class="head"><h1>Fleet</h1><div class="chips">${order.filter(s => counts[s]).map(s => html`<${Chip} icon=${icons[s][0]} colour=${icons[s][1]} n=${group(counts[s])} word=${stateWord(s)} on=${only === s} onClick=${() => setQuery({ state: only === s ? '' : s })} />`)}</div></div>
    <div class="bar"><${Find} label=${matchMedia('(max-width: 699px)').matches ? 'Name or selector' : 'Name, or labels.env == "prod" && cpus > 8'} value=${text.value} onInput=${type} />
      <${Seg} label="Shown as" value=${shape.value} options=${[['table', 'Table'], ['matrix', 'Matrix']]} onPick=${v => { shape.value = v }} />
      <span class="grow"></span><span class="dim w1">${group(all.length)} ${all.length === 1 ? 'runner' : 'runners'}, ${group(slots)} places, ${group(used)} in use</span></div>
    ${refused && html`<${Problem} what="Cannot follow the fleet" error=${refused} />`}
    ${problem.value && html`<${Problem} what="This expression does not work" error=${problem.value} />`}
    ${current && !rows.length && !problem.value ? html`<${Empty} icon="find" title="No runner matches" label="Filter"><p>Nothing is left of ${group(all.length)} runners.</p><button type="button" class="btn" onClick=${() => { text.value = ''; setQuery({ where: '', state: '' }) }}>Clear the filter</button><//>`
      : shape.value === 'matrix' ? html`<${Matrix} rows=${rows} />` : html`<${Table} rows=${rows} />`}`
}

const shownFirst = 300
function Table({ rows }) {
  const most = useSignal(shownFirst)
  const end = useRef()
  useEffect(() => {
    const seen = new IntersectionObserver(e => { if (e[0].isIntersecting) most.value += shownFirst }, { rootMargin: '800px' })
    if (end.current) seen.observe(end.current)
    return () => seen.disconnect()
  }, [rows.length > most.value])
  return html`<div class="sheet"><table><caption class="vh">Runners, those with trouble first</caption><thead><tr><th>Runner</th><th>State</th><th class="num w1">Running</th><th class="w1">Pools</th><th class="w2">Labels</th><th class="num w1">Load</th><th class="num w2">Memory</th><th class="num w1">Clock</th><th class="w2">Version</th><th class="w3">System</th><th class="num">Seen</th></tr></thead>
    <tbody>${rows.slice(0, most.value).map(r => html`<${Row} key=${r.name} r=${r} />`)}</tbody></table>
    ${rows.length > most.value && html`<div class="more" ref=${end}>${rows.length - most.value} more come as you scroll</div>`}</div>`
}

function Row({ r }) {
  const c = r.card, s = stateOf(r)
  const places = c.slots ? (c.running || 0) / c.slots : 0
  const off = !r.online
  const dash = html`<span class="dim3">–</span>`
  return html`<tr class=${off ? 'off' : ''}><th scope="row" class="main"><a href=${'/fleet/' + encodeURIComponent(r.name)}><bdi>${r.name}</bdi></a>
      <span class="narrow">${off ? 'last seen ' : ''}${off ? html`<${Ago} t=${r.seen} />` : `${c.running || 0}/${c.slots} running`}${c.error && html`, ${c.error}`}</span></th>
    <td><${State} word=${stateWord(s)} shape=${icons[s][0]} colour=${s === 'online' ? 'ok' : icons[s][1] === 'off' ? '' : icons[s][1]} />${c.error && html`<span class="dim w2"> ${c.error}</span>`}</td>
    <td class="num w1">${off ? dash : html`${c.running || 0}<span class="dim3">/${c.slots}</span><${Meter} of=${places} />`}</td>
    <td class="w1 cell">${(c.pools || []).join(', ')}</td><td class="w2 cell"><${Tags} tags=${c.labels} /></td>
    <td class="num w1">${off ? dash : html`${(c.load || 0).toFixed(2)}<${Meter} of=${(c.load || 0) / Math.max(1, c.cpus)} />`}</td>
    <td class="num w2">${c.memory ? html`${Math.round(c.memory / 2 ** 30)}<span class="dim3"> GiB</span>` : dash}</td>
    <td class="num w1"><${Clock} seconds=${off ? undefined : c.clockOffset} /></td><td class="w2">${c.version}</td><td class="w3 cell">${c.osName || c.os} ${c.arch}</td>
    <td class="num"><${Ago} t=${r.seen} suffix="" /></td></tr>`
}

function Matrix({ rows }) {
  const pools = new Map()
  for (const r of rows) {
    const p = r.card.pools?.[0] || 'no pool'
    if (!pools.has(p)) pools.set(p, [])
    pools.get(p).push(r)
  }
  return html`<div class="sheet mx">${[...pools].sort().map(([pool, list]) => html`<section aria-label=${pool}><h2 class="z1 dim"><bdi>${pool}</bdi>, ${list.length} ${list.length === 1 ? 'runner' : 'runners'}</h2>
    <ul class=${list.length > 60 ? 'marks' : ''}>${[...list].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })).map(r => {
      const s = stateOf(r), [icon, colour] = icons[s]
      return html`<li key=${r.name} class=${s === 'unhealthy' ? 'b' : s === 'draining' ? 'w' : r.online ? '' : 'o'}><a href=${'/fleet/' + encodeURIComponent(r.name)} aria-label=${`${r.name}, ${stateWord(s)}`} title=${r.name}>
        <${Icon} name=${icon} cls=${'c-' + colour} />${list.length <= 60 && html`<span class="nm"><bdi>${r.name}</bdi></span><span class="n">${r.online ? `${r.card.running || 0}/${r.card.slots}` : ''}</span><${Meter} of=${r.online ? (r.card.load || 0) / Math.max(1, r.card.cpus) : 0} />`}</a></li>`
    })}</ul></section>`)}
    <p class="z1 dim">The line under a name is the load of its processors. The two numbers are runs and places. More than 60 in a pool become marks.</p></div>`
}
