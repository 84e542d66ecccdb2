// A new schedule, or a change of one: the server says as one types when it would be due, or what is
// wrong with it.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { may, post, request } from './api.js'
import { full, millis } from './time.js'
import { CopyRow, Icon, Problem, Seg, tell } from './ui.js'
import { useTopic } from './state.js'
import { stateOf } from './fleet.js'
import { link } from './link.js'
import { In } from './jobs.js'
import { words } from './command.js'
import { formOf, freshSchedule, scheduleCommand, scheduleOf, zoned } from './rules.js'

const calm = 250 // ms after the last key until the server is asked
const zones = () => { try { return ['UTC', ...Intl.supportedValuesOf('timeZone')] } catch { return ['UTC'] } }

// What is not typed yet is no mistake: the rule alone is asked about.
const complete = s => ({ ...s, name: s.name || 'new', task: s.task?.argv?.length || s.task?.commands?.[0] || s.task?.file || s.task?.language ? s.task : { argv: ['true'] } })

function useCheck(f, was) {
  const s = useSignal({ next: null, error: null })
  const text = JSON.stringify(complete(scheduleOf(f, was)))
  useEffect(() => {
    let stop = false
    const timer = setTimeout(async () => {
      try {
        const got = await post(`/api/v1/schedules/${encodeURIComponent(JSON.parse(text).name)}/check`, JSON.parse(text))
        if (!stop) s.value = { next: got.next || [], error: null }
      } catch (error) { if (!stop) s.value = { next: null, error } }
    }, calm)
    return () => { stop = true; clearTimeout(timer) }
  }, [text])
  return s.value
}

export function ScheduleForm({ was, done }) {
  const f = useSignal(was ? formOf(was) : freshSchedule)
  const problem = useSignal(null), busy = useSignal(false), more = useSignal(false)
  const name = useRef()
  const fleet = useTopic('fleet')
  const v = f.value
  const check = useCheck(v, was)
  useEffect(() => { name.current?.focus() }, [])
  const set = change => { f.value = { ...f.value, ...change }; problem.value = null }
  const online = [...fleet.items.values()].filter(r => ['online', 'unhealthy'].includes(stateOf(r)))
  const pools = [...new Set(['default', ...online.flatMap(r => r.card.pools || [])])].sort()
  const empty = !v.name.trim() || (v.kind === 'command' ? !v.command.trim() : v.kind === 'argv' && !words(v.argv)?.length)
  const submit = async e => {
    e.preventDefault()
    if (empty || check.error) return
    busy.value = true
    try {
      const s = scheduleOf(v, was)
      if (was) await request('PUT', '/api/v1/schedules/' + encodeURIComponent(s.name), { body: s })
      else await post('/api/v1/schedules', s)
      tell(`${s.name} is ${was ? 'changed' : 'stored: it fires by itself'}`)
      done(s.name)
    } catch (err) { problem.value = err; busy.value = false }
  }
  const field = (id, label, k, placeholder, { list, cls, ...more } = {}) => html`<div><label class="lab" for=${id}>${label}</label><span class="fld"><input id=${id} class=${cls} value=${v[k]} placeholder=${placeholder} autocomplete="off" spellcheck="false" list=${list} ...${more} onInput=${e => set({ [k]: e.target.value })} /></span></div>`
  const choice = (id, label, k, options) => html`<div><label class="lab" for=${id}>${label}</label><span class="fld"><select id=${id} value=${v[k]} onChange=${e => set({ [k]: e.target.value })}>${options.map(([o, text]) => html`<option value=${o}>${text}</option>`)}</select></span></div>`
  const kinds = [['command', 'Shell text'], ['argv', 'Command'], ...(v.kind === 'kept' || was && formOf(was).kind === 'kept' ? [['kept', 'As it is']] : [])]
  return html`<section class="two schedform" aria-label=${was ? 'Change ' + was.name : 'New schedule'}>
    <form class="sheet form" onSubmit=${submit}>
      <h3 class="z3">${was ? html`Change <bdi>${was.name}</bdi>` : 'New schedule'}</h3>
      ${problem.value && html`<${Problem} what="It was not stored" error=${problem.value} />`}
      ${!was && html`<div><label class="lab" for="sname">Name</label><span class="fld"><input id="sname" ref=${name} value=${v.name} placeholder="nightly" maxlength="48" autocomplete="off" spellcheck="false" onInput=${e => set({ name: e.target.value })} /></span></div>`}
      <fieldset><legend class="lab">When</legend><${Seg} label="When" value=${v.when} options=${[['cron', 'By a pattern'], ['every', 'Every'], ['at', 'Once']]} onPick=${when => set({ when })} /></fieldset>
      ${v.when === 'cron' && html`<div class="rowf">${field('scron', 'Pattern', 'cron', '0 3 * * *', { cls: 'mono', title: 'minute, hour, day of the month, month, weekday' })}${field('stz', 'Time zone', 'tz', 'UTC', { list: 'zones' })}</div><p class="hintline">Minute, hour, day of the month, month, weekday.</p><datalist id="zones">${zones().map(z => html`<option value=${z}></option>`)}</datalist>`}
      ${v.when === 'every' && field('severy', 'Interval', 'every', '5m')}
      ${v.when === 'at' && field('sat', 'At, UTC', 'at', '', { type: 'datetime-local' })}
      <div class="due" role="status">${check.error ? html`<p class="hintline no1"><${Icon} name="warn" /> ${check.error.message}</p>`
        : !check.next ? html`<p class="hintline">…</p>`
          : !check.next.length ? html`<p class="hintline">It would never be due.</p>`
            : html`<p class="hintline">Next <${In} t=${check.next[0]} />: ${check.next.map(t => html`<span class="nb" title=${full(millis(t))}>${zoned(millis(t), v.when === 'cron' ? v.tz : '')}</span> `)} ${v.when === 'cron' && v.tz ? v.tz : 'UTC'}</p>`}</div>
      <fieldset><legend class="lab">What</legend><${Seg} label="What" value=${v.kind} options=${kinds} onPick=${kind => set({ kind })} /></fieldset>
      ${v.kind === 'command' && html`<div><label class="lab" for="scmd">Shell text</label><textarea id="scmd" rows="3" spellcheck="false" placeholder="df -h / | tail -1" value=${v.command} onInput=${e => set({ command: e.target.value })}></textarea></div>`}
      ${v.kind === 'argv' && html`<div><label class="lab" for="sargv">Program and its arguments</label><span class="fld"><input id="sargv" class="mono" value=${v.argv} placeholder="./backup --all" spellcheck="false" autocomplete="off" onInput=${e => set({ argv: e.target.value })} /></span>${words(v.argv) === null && html`<p class="hintline no1">a quote is open</p>`}</div>`}
      <fieldset><legend class="lab">Where</legend><${Seg} label="Where" value=${String(v.all)} options=${[['false', 'One of a pool'], ['true', 'Every runner']]} onPick=${all => set({ all: all === 'true' })} /></fieldset>
      <div class="rowf">${choice('spool', 'Pool', 'pool', [['', v.all ? 'of any pool' : 'default'], ...pools.filter(p => v.all || p !== 'default').map(p => [p, p]), ...(v.pool && !pools.includes(v.pool) ? [[v.pool, v.pool]] : [])])}${v.all && field('swhere', 'Selector', 'where', 'labels.env == "prod"')}</div>
      <details open=${more.value} onToggle=${e => { more.value = e.currentTarget.open }}><summary class="btn bare"><${Icon} name="right" cls="ico-turn" />More</summary><div class="form inner">
        <div class="rowf">${choice('soverlap', 'While the last one goes on', 'overlap', [['', 'skip the tick'], ['allow', 'start beside it'], ['replace', 'abort it, then start']])}${field('sdeadline', 'Not later than', 'startDeadline', v.all ? '10m' : '24h')}${field('sjitter', 'Put off by up to', 'jitter', 'nothing')}</div>
        <div class="rowf">${field('stimeout', 'Timeout', 'timeout', 'none')}${field('suser', 'User', 'user', "the runner's own")}</div></div></details>
      <div class="chips"><button class="btn main" disabled=${busy.value || empty || !!check.error || !may('run') || link.value.state === 'cut'}>${was ? 'Store the change' : 'Store'}</button><button type="button" class="btn" onClick=${() => done('')}>Leave it</button></div></form>
    ${v.kind !== 'kept' && html`<section class="sheet" aria-label="The same by hand"><header><h3 class="z3">The same by hand</h3></header><div class="form"><${CopyRow} label="runnel" text=${scheduleCommand(v) + (was ? ' --replace' : '')} /></div></section>`}</section>`
}
