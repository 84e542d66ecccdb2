// The graph of a job, or of a pipeline: placed by the server, drawn here. Each task is a link whose
// words change in place; arrows lead from one to the next.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useComputed, useSignal } from '@preact/signals'
import { now } from './api.js'
import { duration, millis, second } from './time.js'
import { Icon, Took, lookOf } from './ui.js'
import { factOf, isOver, useSame } from './jobs.js'

const box = { w: 172, h: 48 }
const most = 300 // more boxes than that are no picture any more

const kindOf = t => ({ done: 'ok', running: 'run', error: 'bad', canceled: 'warn', skipped: 'skip' }[t?.status] || 'wait')

export function Graph({ graph, job, usual = {}, facts = {}, all, runs, chosen, onChoose, hrefOf, label }) {
  const region = useRef(), same = useSame()
  const at = graph.nodes.find(n => n.name === chosen)
  useEffect(() => {
    const el = region.current
    if (!el || !at) return
    const show = () => {
      if (at.x < el.scrollLeft + 8 || at.x + box.w > el.scrollLeft + el.clientWidth - 8) el.scrollLeft = at.x - (el.clientWidth - box.w) / 2
      if (at.y < el.scrollTop + 8 || at.y + box.h > el.scrollTop + el.clientHeight - 8) el.scrollTop = at.y - (el.clientHeight - box.h) / 2
    }
    const sizes = new ResizeObserver(show)
    sizes.observe(el)
    return () => sizes.disconnect()
  }, [chosen, graph])
  if (graph.nodes.length > most) return html`<p class="pad dim">${graph.nodes.length} tasks are too many for a picture. The table has all of them.</p>`
  const tasks = new Map((job?.tasks || []).map(t => [t.name, t]))
  const move = e => {
    const next = onChoose && neighbour(graph.nodes, at || graph.nodes[0], e.key)
    if (!next || e.ctrlKey || e.metaKey || e.altKey) return
    e.preventDefault()
    onChoose(next.name)
  }
  const edge = l => (tasks.size ? (isOver(tasks.get(l.from) || {}) && tasks.get(l.from).status !== 'skipped' ? (kindOf(tasks.get(l.to)) === 'wait' ? '' : ' done') : ' wait') : '')
  return html`<div class="graph" tabindex="0" role="region" aria-label=${label || 'Graph'} ref=${region} onKeyDown=${move}>
    <svg class="dag" width=${graph.width} height=${graph.height} role="group" aria-label="Tasks and what they need">
      ${[false, true].map(heavy => graph.edges.filter(l => l.longest === heavy).map(l => html`<path key=${l.from + '\n' + l.to} class=${`e${edge(l)}${heavy ? ' crit' : ''}`} d=${l.path} />`))}
      ${graph.nodes.map(n => {
        const t = tasks.get(n.name)
        const key = [n, t, t && factOf(job, t, runs), usual?.[n.name], facts[n.name], all?.has(n.name), n.name === chosen]
        return same(n.name, key, () => html`<${Node} key=${n.name} n=${n} t=${t} job=${job} usual=${usual?.[n.name] || 0} plan=${facts[n.name]} many=${all?.has(n.name)} runs=${runs} chosen=${n.name === chosen} onChoose=${onChoose} href=${hrefOf?.(n.name)} />`)
      })}</svg></div>`
}

// neighbour is the task to which an arrow leads: the nearest in its direction.
function neighbour(nodes, from, key) {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key]
  if (!way || !from) return null
  const far = n => {
    const along = (n.x - from.x) * way[0] + (n.y - from.y) * way[1], aside = Math.abs((n.x - from.x) * way[1]) + Math.abs((n.y - from.y) * way[0])
    return along <= 0 || (way[1] && aside > 0) ? Infinity : along + 2 * aside
  }
  const best = nodes.reduce((a, n) => (far(n) < far(a) ? n : a), from)
  return far(best) === Infinity ? null : best
}

function Node({ n, t, job, usual, plan, many, runs, chosen, onChoose, href }) {
  const [shape, colour] = t ? lookOf(t.status) : ['pending', '']
  const inside = html`<g transform=${`translate(${n.x} ${n.y})`}>
      ${(many || t?.asked?.length > 0) && html`<rect class="back" x="4" y="-4" width=${box.w} height=${box.h} rx="5" />`}
      <rect class="box" width=${box.w} height=${box.h} rx="5" />
      <foreignObject width=${box.w} height=${box.h}><div class="nd"><b title=${n.name}>${t && html`<${Icon} name=${shape} cls=${'c-' + (colour || 'off')} />`}<bdi>${n.name}</bdi></b>
        <small title=${plan}>${t ? html`<${Fact} job=${job} t=${t} runs=${runs} />` : [usual && duration(usual * 1000), plan].filter(Boolean).join(', ')}</small></div></foreignObject>
      ${t?.status === 'running' && usual > 0 && html`<${Progress} from=${t.start} usual=${usual} />`}</g>`
  const cls = `n-${t ? kindOf(t) : 'plan'}${chosen ? ' sel' : ''}`
  if (!onChoose) return html`<g class=${cls}>${inside}</g>`
  return html`<a href=${href} class=${cls} tabindex="-1" aria-current=${chosen ? 'true' : null} onClick=${e => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); onChoose(n.name) }}>${inside}</a>`
}

// The word of its state and one fact; times tick as text alone.
function Fact({ job, t, runs }) {
  const fact = factOf(job, t, runs)
  if (t.status === 'running' || t.status === 'done') {
    const where = t.asked?.length ? (t.status === 'done' ? `on ${t.asked.length} ${t.asked.length === 1 ? 'runner' : 'runners'}` : '') : t.runner && !t.kept ? html`on <bdi>${t.runner}</bdi>` : ''
    return html`${t.status} ${t.start && html`<${Took} from=${t.start} to=${t.end} />`}${fact && (t.start ? ', ' : '') + fact} ${where}`
  }
  return `${t.status}${fact ? (t.status === 'waiting' || fact.startsWith('by ') ? ' ' : ', ') + fact : ''}`
}

// How far it is, if it takes as long as usual; the mark is where it usually ends.
function Progress({ from, usual }) {
  const start = useSignal(0)
  start.value = millis(from)
  const whole = useComputed(() => { second.value; return Math.max(usual * 1.15, (now() - start.value) / 1000) })
  const width = useComputed(() => { second.value; return (Math.max(0, (now() - start.value) / 1000) / whole.value * (box.w - 2)).toFixed(1) })
  const mark = useComputed(() => (usual / whole.value * (box.w - 2)).toFixed(1))
  return html`<rect class="pt" x="1" y=${box.h - 4} width=${box.w - 2} height="3" /><rect class="pv" x="1" y=${box.h - 4} width=${width} height="3" /><rect class="pm" x=${mark} y=${box.h - 5} width="1.5" height="5" />`
}
