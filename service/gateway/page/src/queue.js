// The queue: how much waits, for how long and why; pools that are paused; work that has failed. And
// below it the schedules.
import { html } from 'htm/preact'
import { useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, post, query, request } from './api.js'
import { group, millis } from './time.js'
import { Ago, Empty, Icon, Problem, RunState, Seg, State, Took, tell, useTitle } from './ui.js'
import { runName } from './runs.js'
import { useTopic } from './state.js'
import { link } from './link.js'
import { In, useFetched } from './jobs.js'
import { Schedules } from './schedules.js'
import { act } from './again.js'

const priorities = ['high', 'normal', 'low']

function poolsOf(lines, runners) {
  const pools = new Map()
  for (const l of lines) {
    if (!pools.has(l.pool)) pools.set(l.pool, { name: l.pool, high: 0, normal: 0, low: 0, running: 0, oldest: '' })
    const p = pools.get(l.pool)
    p[l.priority] = (p[l.priority] || 0) + l.waiting
    p.running += l.running
    if (l.waiting && l.oldest && (!p.oldest || millis(l.oldest) < millis(p.oldest))) p.oldest = l.oldest
    if (l.paused) Object.assign(p, { paused: true, by: l.pausedBy, since: l.pausedSince })
  }
  for (const p of pools.values()) {
    const on = runners.filter(r => r.online && r.card.pools?.includes(p.name))
    p.runners = on.length
    p.places = on.reduce((n, r) => n + (r.card.slots || 0), 0)
  }
  return [...pools.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
}

export function Queue() {
  useTitle('Queue')
  const fleet = useTopic('fleet').items
  const { items, refused } = useTopic('queue')
  const value = [...items.values()][0]
  const failed = useSignal(false)
  const pools = poolsOf(value?.lines || [], [...fleet.values()])
  const waiting = pools.reduce((n, p) => n + p.high + p.normal + p.low, 0), running = pools.reduce((n, p) => n + p.running, 0)
  const oldest = pools.map(p => p.oldest).filter(Boolean).sort((a, b) => millis(a) - millis(b))[0]
  return html`<div class="head"><h1>Queue</h1>${value && html`<span class="dim">${waiting ? html`${group(waiting)} waiting, the oldest for <${Took} from=${oldest} />; ` : 'nothing waits, '}${group(running)} running</span>`}</div>
    ${refused && html`<${Problem} what="Cannot read the queue" error=${refused} />`}
    ${value?.conflicts.length > 0 && html`<div class="sheet notice" role="note"><${Icon} name="warn" /><span><b>${value.conflicts.length} dropped:</b> another request had the id of <bdi>${value.conflicts.slice(0, 5).map(c => c.id).join(', ')}</bdi>. Give each piece of work an id of its own.</span></div>`}
    ${pools.length > 0 && html`<section class="sheet" aria-label="Pools"><table class="names"><caption class="vh">Pools</caption><thead><tr><th>Pool</th>${priorities.map(p => html`<th class="num w1">${p[0].toUpperCase() + p.slice(1)}</th>`)}<th class="num">Oldest</th><th class="num">Running</th><th class="w1">State</th>${may('run') && html`<th><span class="vh">Do</span></th>`}</tr></thead>
      <tbody>${pools.map(p => html`<${Pool} key=${p.name} p=${p} />`)}</tbody></table></section>`}
    ${value && html`<${Work} key=${String(failed.value)} unused=${!pools.length} failed=${failed.value} onFailed=${v => { failed.value = v }} revision=${value.revision} />`}
    <${Schedules} />`
}

const zero = n => (n ? group(n) : html`<span class="dim3">0</span>`)

function Pool({ p }) {
  const dialog = useRef()
  const off = link.value.state === 'cut'
  const path = `/api/v1/queue/pools/${encodeURIComponent(p.name)}/`
  const all = p.high + p.normal + p.low
  const pause = () => act(p.paused ? 'resume it' : 'pause it', async () => {
    const got = await post(path + (p.paused ? 'resume' : 'pause'))
    return `${p.name} is ${got.paused ? 'paused' : 'resumed'}${got.unconfirmed.length ? `; ${got.unconfirmed.length} runners have not said that they know` : ''}`
  })
  const purge = () => act('remove it', async () => `${group((await post(path + 'purge')).removed)} removed`)
  const paused = p.paused && html`<${State} word="paused" /> ${p.since && html`<span class="dim"><${Ago} t=${p.since} suffix="" />${p.by && html` by <bdi>${p.by}</bdi>`}</span>`}`
  return html`<tr><th scope="row" class="main"><bdi>${p.name}</bdi><span class="narrow">${priorities.filter(k => p[k]).map(k => `${group(p[k])} ${k}`).join(', ') || 'nothing waits'}${paused && html`; ${paused}`}</span></th>
    ${priorities.map(k => html`<td class="num w1">${zero(p[k])}</td>`)}<td class="num">${p.oldest ? html`<${Took} from=${p.oldest} />` : html`<span class="dim3">–</span>`}</td>
    <td class="num">${group(p.running)}<span class="dim3">/${group(p.places)}</span></td>
    <td class="w1 cell">${paused || (p.runners ? html`<span class="dim">${p.runners} ${p.runners === 1 ? 'runner' : 'runners'}</span>` : html`<span class="c-warn">no runner online</span>`)}</td>
    ${may('run') && html`<td class="acts">${all > 0 && html`<button type="button" class="btn bare w1" disabled=${off} aria-label=${'Remove all of ' + p.name} onClick=${() => dialog.current.showModal()}>Remove all</button>`}
      <button type="button" class="btn" disabled=${off} aria-label=${(p.paused ? 'Resume ' : 'Pause ') + p.name} onClick=${pause}>${p.paused ? 'Resume' : 'Pause'}</button>
      <dialog class="keys" ref=${dialog} aria-label="Remove all"><h2>Remove all that waits for <bdi>${p.name}</bdi>?</h2><p class="say">${group(all)} ${all === 1 ? 'piece' : 'pieces'} of work will never start. What runs goes on.</p>
        <form method="dialog" class="chips" onSubmit=${e => { if (e.submitter?.value === 'yes') purge() }}><button class="btn harm" value="yes">Remove ${group(all)}</button><button class="btn" value="no">Leave it</button></form></dialog></td>`}</tr>`
}

// Why work waits, in the server's words.
const whyOf = q => (q?.why ? html`<bdi>${q.why}</bdi>` : q?.waits || '')

function Work({ failed, unused, onFailed, revision }) {
  const runs = useTopic('runs').items
  const again = useSignal(0)
  // What has failed changes with runs, not with what waits.
  const moved = failed ? [...runs.values()].filter(r => r.queued).map(r => r.id + r.state).sort().join() : revision
  const { value, error } = useFetched('/api/v1/queue/work' + query({ failed: failed ? 'true' : '', limit: 100 }), moved + again.value)
  const more = useSignal({ of: null, work: [], next: '' })
  const list = value ? [...value.work, ...(more.value.of === value ? more.value.work : [])] : []
  const next = more.value.of === value ? more.value.next : value?.next
  const both = () => { again.value++ }
  const load = async () => {
    try {
      const got = await get('/api/v1/queue/work' + query({ failed: failed ? 'true' : '', limit: 100, next }))
      more.value = { of: value, work: [...(more.value.of === value ? more.value.work : []), ...got.work], next: got.next }
    } catch (err) { tell(err.message) }
  }
  const retryAll = () => act('try them again', async () => `${(await post('/api/v1/queue/retry')).ids.length} are tried again`, both)
  return html`<section class="sheet" aria-label=${failed ? 'What has failed' : 'What waits'}><header><${Seg} label="Which work" value=${String(failed)} options=${[['false', 'What waits'], ['true', 'What has failed']]} onPick=${v => onFailed(v === 'true')} />
      <span class="grow"></span>${failed && list.length > 1 && may('run') && html`<button type="button" class="btn" onClick=${retryAll}><${Icon} name="again" />Retry all</button>`}</header>
    ${error && html`<${Problem} what="Cannot list it" error=${error} />`}
    ${value && !list.length && unused && !failed ? html`<${Empty} icon="pending" title="The queue is empty" label="Queue" code="runnel run --queue -- ./work"><p>Work that is put into it waits in JetStream until a runner of its pool has a free place, also over restarts.</p><//>`
      : value && !list.length ? html`<p class="pad dim">${failed ? 'Nothing has failed that could be tried again.' : 'Nothing waits.'}</p>` : html`<table class="names"><caption class="vh">${failed ? 'Failed work, newest first' : 'What waits, oldest first'}</caption>
      <thead><tr><th>Work</th><th class="w1">Pool</th><th class="w2">Priority</th><th class="num">For</th><th class="w1">${failed ? 'How it ended' : 'Why'}</th>${may('run') && html`<th><span class="vh">Do</span></th>`}</tr></thead>
      <tbody>${list.map(r => html`<${WorkRow} key=${r.id} r=${r} failed=${failed} reload=${both} />`)}</tbody></table>`}
    ${next && html`<div class="more"><button type="button" class="btn bare" onClick=${load}>Show more</button></div>`}</section>`
}

function WorkRow({ r, failed, reload }) {
  const q = r.queued || {}
  const id = r.group || r.id
  const why = failed ? html`<${RunState} run=${r} />${r.error && html` <bdi class="dim">${r.error}</bdi>`}` : html`<span class=${q.waits === 'refused' || q.waits === 'runner' ? 'c-warn' : 'dim'}>${q.waits === 'later' && millis(q.until) > 0 ? html`<span title=${q.why}>it may start <${In} t=${q.until} /></span>` : whyOf(q)}</span>`
  const path = '/api/v1/queue/work/' + encodeURIComponent(id)
  return html`<tr><th scope="row" class="main">${failed ? html`<a href=${'/runs/' + encodeURIComponent(r.id)}><bdi>${runName(r)}</bdi></a>` : html`<bdi>${runName(r)}</bdi>`}<span class="narrow"><bdi>${q.pool}</bdi>, ${q.priority}; ${why}</span></th>
    <td class="w1 cell"><bdi>${q.pool}</bdi></td><td class="w2">${q.priority}</td><td class="num">${failed ? html`<${Took} from=${r.started} to=${r.ended} />` : html`<${Took} from=${q.accepted || r.created} />`}</td>
    <td class="fill w1">${why}</td>${may('run') && html`<td class="acts">${failed
      ? html`<button type="button" class="btn" aria-label=${'Retry ' + runName(r)} onClick=${() => act('try it again', async () => { await post(path + '/retry'); return 'it is tried once more' }, reload)}>Retry</button>`
      : html`<button type="button" class="btn bare" aria-label=${'Remove ' + runName(r)} onClick=${() => act('remove it', async () => { await request('DELETE', path); return 'it is removed, and never starts' }, reload)}>Remove</button>`}</td>`}</tr>`
}

