// Run something: on one runner, on a pool, by a selector, on all.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useComputed, useSignal } from '@preact/signals'
import { get, may, post, query } from './api.js'
import { go, here } from './router.js'
import { CopyRow, Icon, Problem, Seg, useTitle } from './ui.js'
import { useTopic } from './state.js'
import { stateOf } from './fleet.js'
import { link } from './link.js'
import { Editor } from './editor.js'
import { bodyOf, commandOf, fresh, natsOf, words } from './command.js'

export function New() {
  useTitle('Run something')
  const q = here.value.query
  const f = useSignal({ ...fresh, ...(q.on ? { to: 'on', on: q.on } : {}) })
  const problem = useSignal(null), busy = useSignal(false), matching = useSignal(null), more = useSignal(false)
  const fleet = useTopic('fleet')
  const set = change => { f.value = { ...f.value, ...change }; problem.value = null }
  useEffect(() => {
    if (!q.again) return
    get('/api/v1/runs/' + encodeURIComponent(q.again)).then(run => set({ command: run.command || '', name: run.name || '', to: 'on', on: run.runner, tags: Object.entries(run.tags || {}).map(e => e.join('=')).join('\n') })).catch(err => { problem.value = err })
  }, [q.again])

  const v = f.value
  const online = [...fleet.items.values()].filter(r => stateOf(r) === 'online' || stateOf(r) === 'unhealthy')
  const pools = [...new Set(online.flatMap(r => r.card.pools || []))].sort()
  const timer = useRef()
  useEffect(() => {
    clearTimeout(timer.current)
    matching.value = null
    if (v.to !== 'where' || !v.where.trim()) return
    timer.current = setTimeout(async () => {
      try { matching.value = { n: (await get('/api/v1/runners' + query({ where: v.where }))).runners.filter(r => r.online).length } } catch (err) { matching.value = { error: err.message } }
    }, 250)
  }, [v.to, v.where, fleet.items.size])

  const reach = v.to === 'on' ? (online.some(r => r.name === v.on) ? 1 : 0) : v.to === 'pool' ? online.filter(r => r.card.pools?.includes(v.pool)).length : v.to === 'where' ? matching.value?.n ?? 0 : online.length
  const whom = v.to === 'on' ? (v.on ? (reach ? `It runs on ${v.on}.` : `${v.on} is not online now.`) : 'Choose a runner.')
    : v.to === 'where' && matching.value?.error ? matching.value.error
      : reach === 0 ? 'Nobody is reached by this now.' : v.all ? `It runs on all ${reach} of them.` : `It runs on one of ${reach}, whichever has room.`
  const empty = v.kind === 'command' ? !v.command.trim() : v.kind === 'argv' ? !words(v.argv)?.length : v.script.trim().length < 12
  const number = v.all && v.to !== 'on' ? reach : 1
  const submit = async e => {
    e?.preventDefault()
    if (empty) return
    busy.value = true
    try {
      const got = await post('/api/v1/runs', bodyOf(v))
      go(got.group && v.all ? '/fanout/' + encodeURIComponent(got.group) : '/runs/' + encodeURIComponent(got.runs[0]?.id || got.id))
    } catch (err) { problem.value = err; busy.value = false }
  }
  const field = (id, label, k, placeholder, list) => html`<div><label class="lab" for=${id}>${label}</label><span class="fld"><input id=${id} value=${v[k]} placeholder=${placeholder} autocomplete="off" spellcheck="false" list=${list} onInput=${e => set({ [k]: e.target.value })} /></span></div>`
  const area = (id, label, k, placeholder) => html`<div><label class="lab" for=${id}>${label}</label><textarea id=${id} rows="2" spellcheck="false" placeholder=${placeholder} value=${v[k]} onInput=${e => set({ [k]: e.target.value })}></textarea></div>`
  return html`<div class="head"><h1>Run something</h1></div>
    ${problem.value && html`<${Problem} what="It was not started" error=${problem.value} />`}
    <div class="two"><form class="sheet form" aria-label="Task" onSubmit=${submit}>
      <div><${Seg} label="What it is" value=${v.kind} options=${[['command', 'Shell text'], ['argv', 'Command'], ['script', 'Script']]} onPick=${k => set({ kind: k })} /></div>
      ${v.kind === 'command' ? html`<div><label class="lab" for="cmd">Shell text</label><textarea id="cmd" rows="3" spellcheck="false" placeholder="df -h / | tail -1" value=${v.command} onInput=${e => set({ command: e.target.value })}
          onKeyDown=${e => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) submit(e) }}></textarea><p class="hintline">bash runs it. Ctrl and Enter start it.</p></div>`
        : v.kind === 'argv' ? html`<div><label class="lab" for="argv">Program and its arguments</label><span class="fld"><input id="argv" class="mono" value=${v.argv} placeholder="systemctl restart nginx" spellcheck="false" autocomplete="off" onInput=${e => set({ argv: e.target.value })} /></span><p class="hintline">${words(v.argv) === null ? 'a quote is open' : 'No shell is between: quotes only keep words together.'}</p></div>`
          : html`<div><span class="lab" id="scriptlab">Script</span><${Editor} label="Script" language="bash" value=${v.script} onChange=${t => set({ script: t })} /></div>`}
      <fieldset><legend class="lab">Where</legend><${Seg} label="Where" value=${v.to} options=${[['any', 'Any'], ['on', 'One'], ['pool', 'A pool'], ['where', 'Selector']]} onPick=${to => set({ to })} /></fieldset>
      ${v.to === 'on' && field('on', 'Runner', 'on', 'web1', 'runners')}<datalist id="runners">${online.slice(0, 500).map(r => html`<option value=${r.name}></option>`)}</datalist>
      ${v.to === 'pool' && html`<div><label class="lab" for="pool">Pool</label><span class="fld"><select id="pool" value=${v.pool} onChange=${e => set({ pool: e.target.value })}><option value="">choose</option>${pools.map(p => html`<option value=${p}>${p}</option>`)}</select></span></div>`}
      ${v.to === 'where' && field('where', 'Selector', 'where', 'labels.env == "prod" && cpus > 8')}
      ${v.to !== 'on' && html`<label class="in"><input type="checkbox" checked=${v.all} onChange=${e => set({ all: e.target.checked })} /> on every one of them, not on one</label>`}
      <p class="say" aria-live="polite">${fleet.current && !online.length ? html`No runner is online. <a href="/fleet">How to start one</a>` : whom}</p>
      <details open=${more.value} onToggle=${e => { more.value = e.currentTarget.open }}><summary class="btn bare"><${Icon} name="right" cls="ico-turn" />More</summary><div class="form inner">
        <div class="rowf">${field('name', 'Name', 'name', 'for readers')}${field('user', 'User', 'user', "the runner's own")}${field('dir', 'Directory', 'dir', "the runner's own")}</div>
        <div class="rowf">${field('timeout', 'Timeout', 'timeout', 'none')}${field('memory', 'Memory', 'memory', 'no limit')}
          <div><label class="lab" for="iso">Isolation</label><span class="fld"><select id="iso" value=${v.isolation} onChange=${e => set({ isolation: e.target.value })}><option value="">as the policy says</option><option>none</option><option>standard</option><option>strict</option></select></span></div></div>
        ${area('params', 'Environment', 'params', 'NAME=value, one a line')}${area('tags', 'Tags', 'tags', 'name=value, one a line')}</div></details>
      <div class="chips"><button class="btn main" disabled=${busy.value || empty || number === 0 || link.value.state === 'cut'}>${number > 1 ? `Run on ${number}` : 'Run'}</button></div></form>
    <section class="sheet" aria-label="The same by hand"><header><h2>The same by hand</h2></header><div class="form"><${CopyRow} label="runnel" text=${commandOf(v)} /><${CopyRow} label="nats" text=${natsOf(v)} /></div></section></div>`
}
