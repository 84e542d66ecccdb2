// One run: its record and its log.
import { html } from 'htm/preact'
import { useEffect } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, me, post } from './api.js'
import { full, bytes, duration, millis } from './time.js'
import { Ago, CopyRow, Icon, Id, Problem, RunState, Tags, Took, copy, isFinal, tell, useTitle } from './ui.js'
import { LogView } from './logview.js'
import { link } from './link.js'
import { useRun } from './state.js'
import { go } from './router.js'

export function Run({ id }) {
  const { run, error } = useRun(id)
  const side = useSignal(false)
  useTitle(run ? run.name || run.command || run.id : id)
  if (error && !run) {
    return html`<div class="head"><h1><a class="crumb" href="/runs">Runs</a>${id}</h1></div>
      <${Problem} what="Cannot show this run" error=${error} next=${error.status === 404 ? 'Records are kept for seven days after the end, unless somebody removes them.' : ''} />`
  }
  if (!run) return html`<div class="head"><h1><a class="crumb" href="/runs">Runs</a>${id}</h1></div>`
  return html`<div class="head"><h1><a class="crumb" href="/runs">Runs</a><bdi>${run.name || run.command || run.id}</bdi></h1>
      <${RunState} run=${run} big />
      <span class="sub1 w1">on <a href=${'/fleet/' + encodeURIComponent(run.runner)}><bdi>${run.runner}</bdi></a>, ${run.started ? 'started' : 'asked for'} <${Ago} t=${run.started || run.created} />${
        run.group && html`, of <a href=${'/fanout/' + encodeURIComponent(run.group)}><bdi>${run.group}</bdi></a>`}</span>
      <span class="w2 tags"><${Tags} tags=${run.tags} /></span>
      <div class="acts1">${may('run') && html`<a class="btn" href=${'/new?again=' + encodeURIComponent(run.id)}><${Icon} name="again" />Run again</a>`}
        <button type="button" class="btn narrowonly" aria-expanded=${String(side.value)} onClick=${() => { side.value = !side.value }}>Record</button>
        ${!isFinal(run) && may('run') && html`<${Abort} run=${run} />`}</div></div>
    <div class=${'split' + (side.value ? ' open' : '')}>
      <${LogView} run=${run} />
      <aside class="sheet side" aria-label="Record"><header><h2>Record</h2></header><${Record} run=${run} />
        <div class="form"><${CopyRow} label="The same by hand" text=${`runnel logs -f ${run.id}`} /></div></aside></div>`
}

function Abort({ run }) {
  const asked = useSignal(false)
  const off = link.value.state === 'cut'
  return html`<button type="button" class="btn harm" disabled=${asked.value || run.aborting || off} title=${off ? 'waits for the gateway' : null} onClick=${async () => {
    asked.value = true
    try { await post(`/api/v1/runs/${encodeURIComponent(run.id)}/abort`); tell('asked for its end') } catch (err) { tell('cannot abort: ' + err.message); asked.value = false }
  }}><${Icon} name="aborted" />Abort</button>`
}

export function Record({ run }) {
  const row = (name, value) => value !== undefined && value !== '' && value !== null && value !== false && html`<dt>${name}</dt><dd>${value}</dd>`
  const waited = millis(run.started) && millis(run.started) - millis(run.created)
  return html`<dl class="facts">
    ${row('Run', html`<span class="mono">${run.id}</span>`)}
    ${row('Runner', html`<a href=${'/fleet/' + encodeURIComponent(run.runner)}><bdi>${run.runner}</bdi></a>${run.attempt > 1 ? ', attempt ' + run.attempt : ''}`)}
    ${row('Asked by', run.user || run.sub || '')}
    ${row('Command', run.command && html`<code>${run.command}</code>`)}
    ${row('Created', full(millis(run.created)))}
    ${row('Waited', waited > 0 && duration(waited) + ' for a place')}
    ${row('Ended', run.ended && html`${full(millis(run.ended))}, after <${Took} from=${run.started || run.created} to=${run.ended} />`)}
    ${row('Error', run.error)}
    ${run.compile && row('Compiler', `exit ${run.compile.exitCode || 0}, ${duration((run.compile.wallTime || 0) * 1000)}`)}
    ${row('Processor', isFinal(run) && run.cpuTime > 0 && duration(run.cpuTime * 1000))}
    ${row('Memory', run.peakMemory > 0 && bytes(run.peakMemory) + ' at most')}
    ${row('Tags', Object.keys(run.tags || {}).length > 0 && html`<${Tags} tags=${run.tags} />`)}
    ${row('Output', run.logComplete && `${run.lines} lines, ${bytes(run.bytes || 0)}`)}
    ${row('sha256', run.sha256 && html`<span class="mono">${run.sha256}</span>`)}
    ${row('Subject', run.logSubject && html`<span class="mono">${run.logSubject}</span>`)}</dl>`
}
