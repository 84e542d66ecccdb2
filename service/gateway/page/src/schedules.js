// The schedules, next first: when they fire, how it went, pause, resume, run now.
import { html } from 'htm/preact'
import { useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, now, post, query, request } from './api.js'
import { date, full, group, millis, second } from './time.js'
import { Ago, CopyRow, Empty, Icon, Problem, RunState, State, Took, isFinal, look, tell, wentWell } from './ui.js'
import { here, setQuery } from './router.js'
import { link } from './link.js'
import { In, useFetched } from './jobs.js'
import { act } from './again.js'
import { useTopic } from './state.js'
import { ScheduleForm } from './scheduleform.js'
import { quote } from './command.js'
import { ruleOf, whatOf, whereOf, zoned } from './rules.js'

const path = name => '/api/v1/schedules/' + encodeURIComponent(name)
const mostShown = 40 // schedules whose last eight are read

export function Schedules() {
  const { items, current, refused } = useTopic('schedules')
  const all = [...items.values()]
  const next = s => millis(s.next?.[0]) || (s.paused ? 9e15 : 8e15)
  const rows = [...all].sort((a, b) => next(a) - next(b) || a.name.localeCompare(b.name))
  const open = here.value.query.schedule
  const one = all.find(s => s.name === open)
  if (refused) return html`<div class="head"><h2 class="z4">Schedules</h2></div><${Problem} what="Cannot list the schedules" error=${refused} />`
  if (!current) return null
  const asked = here.value.query.edit
  const edited = asked && all.find(s => s.name === asked && !s.pipeline)
  const adds = here.value.query.new !== undefined
  const done = name => { setQuery({ new: undefined, edit: undefined, ...(name ? { schedule: name } : {}) }) }
  return html`<div class="head"><h2 class="z4">Schedules</h2><span class="dim">${all.length > 0 && `${group(all.length)}, next first; times in UTC`}</span>
      ${may('run') && !adds && html`<div class="acts1"><button type="button" class="btn" disabled=${link.value.state === 'cut'} onClick=${() => setQuery({ new: '1', edit: undefined })}><${Icon} name="plus" />New schedule</button></div>`}</div>
    ${may('run') && (adds || edited) && html`<${ScheduleForm} key=${adds ? '' : edited.name} was=${adds ? null : edited} done=${done} />`}
    ${!all.length ? !adds && html`<${Empty} icon="pending" title="No schedules yet" label="Schedules" code="runnel schedule add nightly --cron '0 3 * * *' -- ./backup"><p>A schedule has a task run at its times. The NATS server keeps them, so no runner needs to be there.</p><//>`
      : html`<div class=${'split ' + (one ? 'open' : 'solo')}><section class="sheet" aria-label="Schedules"><table class="names"><caption class="vh">Schedules, next first</caption>
        <thead><tr><th>Schedule</th><th>Next</th><th class="w1">When</th><th class="w2 o1">Next 24 hours</th><th class="w2 o1">What</th><th class="w2 o1">Where</th><th class="w1 o1">Last eight</th>${may('run') && html`<th><span class="vh">Do</span></th>`}</tr></thead>
        <tbody>${rows.map((s, i) => html`<${Row} key=${s.name} s=${s} open=${s.name === open} whole=${i < mostShown} />`)}</tbody></table></section>
      ${one && html`<${History} key=${one.name} s=${one} />`}</div>`}`
}

// movedOf changes when one of its runs has begun or ended.
const movedOf = s => (s.last ? s.last.id + s.last.state : '')

function Row({ s, open, whole }) {
  const off = link.value.state === 'cut'
  const last = useFetched(whole ? path(s.name) + '/history' + query({ limit: 8 }) : '', movedOf(s)).value?.runs || (s.last ? [s.last] : [])
  const verb = s.paused ? 'resume' : 'pause'
  const change = () => act(`${verb} it`, async () => { await post(`${path(s.name)}/${verb}`); return `${s.name} is ${verb}d` })
  const fire = () => act('run it', async () => { await post(path(s.name) + '/run'); return `${s.name} runs now` })
  const rule = ruleOf(s)
  return html`<tr class=${open ? 'sel' : ''}><th scope="row" class="main"><a href=${`/queue?schedule=${encodeURIComponent(s.name)}`} aria-expanded=${String(open)} onClick=${e => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); setQuery({ schedule: open ? '' : s.name }) }}><bdi>${s.name}</bdi></a><span class="narrow">${rule}, ${whereOf(s)}</span></th>
    <td>${s.paused ? html`<${State} word="paused" /> <span class="dim w2"><${Ago} t=${s.paused.since} suffix="" />${s.paused.by && html` by <bdi>${s.paused.by}</bdi>`}</span>` : s.over ? html`<span class="dim3">over</span>` : s.next?.length ? html`<span title=${full(millis(s.next[0]))}><${In} t=${s.next[0]} /></span>` : html`<span class="dim3">–</span>`}</td>
    <td class="w1 cell" title=${s.cron || null}>${rule}</td><td class="w2 o1"><${Day} s=${s} /></td><td class="w2 o1 mono cell" title=${whatOf(s)}><bdi>${whatOf(s)}</bdi></td><td class="w2 o1 cell"><bdi>${whereOf(s)}</bdi></td>
    <td class="w1 o1"><${Marks} last=${last.slice(0, 8)} /></td>
    ${may('run') && html`<td class="acts"><button type="button" class="btn bare w1" disabled=${off || !!s.pipeline} title=${s.pipeline ? 'its times are in the definition of the pipeline' : null} aria-label=${`${verb[0].toUpperCase() + verb.slice(1)} ${s.name}`} onClick=${change}>${s.paused ? 'Resume' : 'Pause'}</button><button type="button" class="btn" disabled=${off} aria-label=${'Run now: ' + s.name} onClick=${fire}>Run now</button></td>`}</tr>`
}

// The times of the next day: all of an interval, else the five that the server foresees.
function Day({ s }) {
  second.value
  const from = now(), day = 86400e3
  let ticks = (s.next || []).map(millis).filter(t => t < from + day)
  const step = ticks.length > 1 && s.every ? ticks[1] - ticks[0] : 0
  if (step >= 300e3) { ticks = []; for (let t = millis(s.next[0]); t < from + day; t += step) ticks.push(t) }
  const x = t => (((t - from) / day) * 240).toFixed(1)
  const words = `${ticks.length}${!step && ticks.length === 5 ? ' or more' : ''} ${ticks.length === 1 ? 'time' : 'times'} in the next 24 hours`
  return html`<svg class="day24" viewBox="0 0 240 18" role="img" aria-label=${words}><title>${words}</title><path class="ax" d="M0 9h240M60 5v8M120 5v8M180 5v8" />${ticks.length > 1 && html`<path class=${ticks.length > 60 ? 'fi many' : 'fi'} d=${ticks.slice(1).map(t => `M${x(t)} 4v10`).join('')} />`}${ticks.length > 0 && html`<path class="nx" d=${`M${x(ticks[0])} 3v12`} />`}</svg>`
}

function Marks({ last }) {
  if (!last.length) return html`<span class="dim3">none yet</span>`
  const list = [...last].reverse()
  const mark = r => (!isFinal(r) ? ['r', 'm2 2 7 4-7 4z'] : wentWell(r) ? ['k', 'm2 6 3 3 5-6'] : look(r)[1] === 'warn' || r.reason === 'skipped' ? ['c', 'M2 2h7v7h-7z'] : ['x', 'm2 2 7 7m0-7-7 7'])
  const word = r => (!isFinal(r) ? 'running' : wentWell(r) ? 'good' : r.reason || r.state)
  return html`<svg class="hist" viewBox="0 0 118 12" role="img" aria-label=${'last ticks, newest right: ' + list.map(word).join(', ')}>${list.map((r, i) => html`<g key=${r.id} transform=${`translate(${i * 15} 0)`}><title>${word(r)}</title><path class=${mark(r)[0]} d=${mark(r)[1]} /></g>`)}</svg>`
}

// What became of a schedule's ticks, and its next ones.
function History({ s }) {
  const dialog = useRef()
  const off = link.value.state === 'cut' || !!s.pipeline
  const remove = () => act('remove it', async () => { await request('DELETE', path(s.name)); setQuery({ schedule: '' }); return `${s.name} is removed` })
  const read = useFetched(path(s.name) + '/history' + query({ limit: 50 }), movedOf(s))
  const more = useSignal({ of: null, runs: [], next: '' })
  const runs = [...(read.value?.runs || []), ...(more.value.of === read.value ? more.value.runs : [])]
  const next = more.value.of === read.value ? more.value.next : read.value?.next
  const load = async () => {
    try {
      const got = await get(path(s.name) + '/history' + query({ limit: 50, next }))
      more.value = { of: read.value, runs: [...(more.value.of === read.value ? more.value.runs : []), ...got.runs], next: got.next }
    } catch (err) { tell(err.message) }
  }
  return html`<aside class="sheet side" aria-label=${'Schedule ' + s.name}><header><h2><bdi>${s.name}</bdi></h2><span class="grow"></span><button type="button" class="btn bare" aria-label="Close" onClick=${() => setQuery({ schedule: '' })}><${Icon} name="failed" /></button></header>
    <dl class="facts"><dt>When</dt><dd>${ruleOf(s)}${s.cron && html` <code class="dim">${s.cron}</code>`}</dd><dt>What</dt><dd class="mono"><bdi>${whatOf(s)}</bdi></dd><dt>Where</dt><dd><bdi>${whereOf(s)}</bdi></dd>${s.by && html`<dt>By</dt><dd><bdi>${s.by}</bdi></dd>`}${s.paused && html`<dt>Paused</dt><dd><${Ago} t=${s.paused.since} />${s.paused.by && html` by <bdi>${s.paused.by}</bdi>`}</dd>`}
      <dt>Next</dt><dd>${s.next?.length ? [s.next.map(t => html`<span class="nb" title=${full(millis(t))}>${zoned(millis(t), s.tz)}</span> `), html`<span class="dim">${s.tz || 'UTC'}</span>`] : s.over ? 'it is over' : 'none while it is paused'}</dd></dl>
    ${may('run') && html`<div class="form chipsform"><div class="chips"><button type="button" class="btn" disabled=${off} title=${s.pipeline ? 'the definition of the pipeline has it' : null} onClick=${() => setQuery({ edit: s.name, new: undefined })}>Change</button>
      <button type="button" class="btn harm" disabled=${off} aria-label=${'Remove ' + s.name} onClick=${() => dialog.current.showModal()}>Remove</button></div>
      <dialog class="keys" ref=${dialog} aria-label="Remove this schedule"><h2>Remove <bdi>${s.name}</bdi>?</h2><p class="say">It fires no more. What it has started goes on, and its history stays.</p>
        <form method="dialog" class="chips" onSubmit=${e => { if (e.submitter?.value === 'yes') remove() }}><button class="btn harm" value="yes">Remove it</button><button class="btn" value="no">Leave it</button></form></dialog></div>`}
    ${read.error && html`<${Problem} what="Cannot read its history" error=${read.error} />`}
    ${read.value && !runs.length ? html`<p class="pad dim">It has not fired yet.</p>` : html`<table><caption class="vh">Its ticks, newest first</caption><thead><tr><th>Tick</th><th>State</th><th class="num">Took</th></tr></thead><tbody>
      ${runs.map(r => html`<tr key=${r.id}><th scope="row">${r.missed > 0 ? html`<span>${group(r.missed)} missed, ${date(millis(r.from))} to ${date(millis(r.to))}</span>` : r.reason === 'skipped' ? html`<span><${Ago} t=${r.created} /></span>` : html`<a href=${'/runs/' + encodeURIComponent(r.id)}><${Ago} t=${r.started || r.created} /></a>`}</th><td class="cell" title=${r.error}><${RunState} run=${r} /></td><td class="num">${r.started ? html`<${Took} from=${r.started} to=${r.ended} />` : html`<span class="dim3">–</span>`}</td></tr>`)}</tbody></table>`}
    ${next && html`<div class="more"><button type="button" class="btn bare" onClick=${load}>Show more</button></div>`}
    <div class="form"><${CopyRow} label="The same by hand" text=${`runnel schedule history ${quote(s.name)}`} /></div></aside>`
}
