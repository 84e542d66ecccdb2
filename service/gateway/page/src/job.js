// One job: the graph that lives, its tasks, and the log of the one that is looked at.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, post } from './api.js'
import { duration, full, millis } from './time.js'
import { Ago, Empty, Icon, Problem, Seg, State, Took, tell, useTitle } from './ui.js'
import { LogView } from './logview.js'
import { Graph } from './graph.js'
import { In, JobState, factOf, isOver, jobHref, jobPath, nth, pipelinePath, runsOf, stateOfJob, useFetched, useJob, useSame } from './jobs.js'
import { useRun, useTopic } from './state.js'
import { go, here, setQuery } from './router.js'
import { link } from './link.js'

const off = () => link.value.state === 'cut'

export function Job({ id }) {
  const { job, error } = useJob(id)
  const runs = useTopic('runs').items
  useTitle(job ? `${job.pipeline} ${id.slice(0, 8)}` : id)
  const crumbs = html`<a class="crumb" href="/jobs">Pipelines</a>${job && html`<a class="crumb" href=${'/jobs?pipeline=' + encodeURIComponent(job.pipeline)}><bdi>${job.pipeline}</bdi></a>`}`
  if (!job) {
    return html`<div class="head"><h1>${crumbs}${id}</h1></div>${error && html`<${Problem} what="Cannot show this job" error=${error}
      next=${error.status === 404 ? 'Jobs are kept for as long as their pipeline says.' : ''} />`}`
  }
  // Who runs a task is on its run's record until the task has ended.
  const tasks = job.tasks.map(t => (t.runner || t.asked?.length ? t : { ...t, runner: runs.get(t.runs?.[0])?.runner || '' }))
  return html`<${Shown} job=${{ ...job, tasks }} crumbs=${crumbs} runs=${runs} />`
}

function Shown({ job, crumbs, runs }) {
  const names = job.tasks.map(t => t.name).join('\n')
  const graph = useFetched(jobPath(job.id) + '/graph', names)
  const pipeline = useFetched(pipelinePath(job.pipeline), String(job.completed))
  const usual = pipeline.value?.median || { seconds: 0, tasks: {} }
  const shown = useSignal('log')
  const chosen = useChosen(job)
  const task = job.tasks.find(t => t.name === chosen)
  const choose = name => { shown.value = 'log'; setQuery({ task: name }) }
  const ended = job.tasks.filter(isOver).length
  const more = !job.completed && millis(job.start) ? `${ended} of ${job.tasks.length}` : ''
  return html`<div class="head"><h1>${crumbs}<span title=${job.id}>${job.id.slice(0, 8)}</span></h1>
      <${JobState} job=${job} big more=${more} />
      <span class="sub1 w1">${millis(job.start) > 0 && html`for <${Took} from=${job.start} to=${job.end} />${usual.seconds > 0 && !job.completed && ` of about ${duration(usual.seconds * 1000)}`}, `}created <${Ago} t=${job.created} />${job.user && html` by <bdi>${job.user}</bdi>`}</span>
      <span class="w2 tags"><${Variables} text=${job.variablesJson} /></span>
      <div class="acts1"><${Acts} job=${job} /></div></div>
    <${Words} job=${job} />
    ${graph.error && !graph.value && html`<${Problem} what="Cannot draw the graph" error=${graph.error} />`}
    ${graph.value?.nodes.length > 0 && html`<${Graph} graph=${graph.value} job=${job} runs=${runs} usual=${usual.tasks} chosen=${chosen} onChoose=${choose} hrefOf=${name => `${jobHref(job.id)}?task=${encodeURIComponent(name)}`} />`}
    ${!job.tasks.length ? html`<${Empty} icon="complete" title="This pipeline has no tasks" label="Tasks"><p>Its jobs are done at once. Give it tasks in its file, and apply that.</p><//>`
      : html`<div class="bar narrowonly1"><${Seg} label="Shown" value=${shown.value} options=${[['log', 'Log'], ['tasks', 'Tasks']]} onPick=${v => { shown.value = v }} /><span class="dim ell"><bdi>${chosen}</bdi></span></div>
        <div class=${'work jobwork' + (shown.value === 'log' ? ' keep' : '')}><${Tasks} job=${job} runs=${runs} usual=${usual.tasks} chosen=${chosen} onChoose=${choose} />
        <div class="panes">${task && html`<${Pane} key=${task.name} job=${job} task=${task} runs=${runs} />`}</div></div>`}`
}

// useChosen is the task that is looked at: the one that was chosen, or that which runs, failed or
// ended last. What was shown stays while nothing else runs.
function useChosen(job) {
  const last = useRef('')
  const asked = here.value.query.task
  if (asked && job.tasks.some(t => t.name === asked)) return last.current = asked
  const had = job.tasks.find(t => t.name === last.current)
  if (had?.status === 'running' || (had?.status === 'error' && !had.allowFailure)) return last.current
  const next = job.tasks.find(t => t.status === 'running') || job.tasks.find(t => t.status === 'error' && !t.allowFailure)
  if (next) return last.current = next.name
  const best = had || job.tasks.filter(t => millis(t.end) && t.status === 'done').sort((a, b) => millis(b.end) - millis(a.end))[0] || job.tasks[0]
  return last.current = best?.name || ''
}

export function Variables({ text }) {
  let values = {}
  try { values = JSON.parse(text || '{}') || {} } catch { /* what is no object shows none */ }
  return Object.entries(values).sort().slice(0, 12).map(([k, v]) => {
    const is = typeof v === 'string' ? v : JSON.stringify(v)
    return html`<span class="tag" title=${`${k}=${is}`.slice(0, 1000)}><bdi>${k}</bdi><i>=</i><bdi>${is.length > 40 ? is.slice(0, 39) + '…' : is}</bdi></span>`
  })
}

// What the state does not say: why it waits, what failed, who cancelled it, what it runs again.
function Words({ job }) {
  const state = stateOfJob(job)
  const again = job.rerunOf && html`<span>It runs <a href=${jobHref(job.rerunOf)}>${job.rerunOf.slice(0, 8)}</a> again.</span>`
  const note = (cls, icon, what) => html`<div class=${'sheet notice ' + cls} role="note"><${Icon} name=${icon} /><span>${what} ${again}</span></div>`
  if (state === 'waiting') return html`<${Waiting} job=${job} again=${again} />`
  if (state === 'error') return note('bad', 'failed', html`<b>${job.lastError || 'A task failed.'}</b>`)
  if (state === 'canceled') {
    return note('', 'aborted', html`<b>Canceled${job.canceledBy && html` by <bdi>${job.canceledBy}</bdi>`}</b>${html` <${Ago} t=${job.canceledAt || job.end} />`}${job.reason && html`: <bdi>${job.reason}</bdi>`}`)
  }
  return again ? html`<p class="pad dim jobnote">${again}</p>` : null
}

// A job that waits: its place is the queue's to say, and is asked again when the queue moves.
function Waiting({ job, again }) {
  const jobs = useTopic('jobs').items
  const ahead = [...jobs.values()].filter(j => j.pipeline === job.pipeline && !j.completed)
  const moves = ahead.map(j => j.id + stateOfJob(j)).sort().join()
  const asked = useSignal(job)
  useEffect(() => {
    let stop = false
    const timer = setTimeout(() => get(jobPath(job.id)).then(j => { if (!stop) asked.value = j }, () => {}), 200)
    return () => { stop = true; clearTimeout(timer) }
  }, [moves])
  const { place, waits } = asked.value
  const later = millis(job.notBefore) > 0
  const where = place > 0 ? nth(place) + ' in the queue' : 'waiting for its turn'
  return html`<div class="sheet notice" role="status"><${Icon} name="pending" /><span><b>${where[0].toUpperCase() + where.slice(1)}</b>${waits && html`: <bdi>${waits}</bdi>`}. ${later && html`It starts <${In} t=${job.notBefore} />, not before ${full(millis(job.notBefore))}. `}It has waited for <${Took} from=${job.created} />. ${again}</span></div>`
}

function Acts({ job }) {
  const dialog = useRef(), reason = useSignal(''), busy = useSignal(false)
  if (!may('jobs')) return null
  const rerun = body => startAgain(job, body, busy)
  const failed = job.completed && (job.errored || job.canceled)
  return html`${job.completed && html`<button type="button" class="btn" disabled=${busy.value || off()} onClick=${() => rerun({})}><${Icon} name="again" />Run again</button>`}
    ${failed && job.tasks.some(t => t.status === 'done') && html`<button type="button" class="btn" disabled=${busy.value || off()} title="What ended well is kept" onClick=${() => rerun({ failed: true })}>From what failed</button>`}
    ${!job.completed && html`<button type="button" class="btn harm" disabled=${busy.value || off()} onClick=${() => dialog.current.showModal()}><${Icon} name="aborted" />Cancel</button>
      <dialog class="keys" ref=${dialog} aria-label="Cancel this job"><h2>Cancel this job?</h2><form method="dialog" class="form inner" onSubmit=${e => { if (e.submitter?.value === 'yes') cancel(job, reason.value, busy) }}>
        <p class="say">Tasks that run are ended, those that wait don't start.</p>
        <div><label class="lab" for="why">Why, for readers</label><span class="fld"><input id="why" autocomplete="off" value=${reason.value} onInput=${e => { reason.value = e.target.value }} /></span></div>
        <div class="chips"><button class="btn harm" value="yes">Cancel the job</button><button class="btn" value="no">Leave it</button></div></form></dialog>`}`
}

async function cancel(job, reason, busy) {
  busy.value = true
  try { await post(jobPath(job.id) + '/cancel', reason ? { reason } : {}); tell('the job is being canceled') } catch (err) { tell('cannot cancel it: ' + err.message) }
  busy.value = false
}

async function startAgain(job, body, busy) {
  if (busy) busy.value = true
  try { go(jobHref((await post(jobPath(job.id) + '/rerun', body)).id)) } catch (err) { tell('cannot run it again: ' + err.message) }
  if (busy) busy.value = false
}

function Tasks({ job, runs, usual, chosen, onChoose }) {
  const same = useSame()
  const ends = new Map(job.tasks.map(t => [t.name, millis(t.end)]))
  return html`<div class="lst" tabindex="0" role="region" aria-label="Tasks"><table class="names"><caption class="vh">Tasks, each after those that it needs</caption>
    <thead><tr><th>Task</th><th class="stcell">State</th><th class="w1">Runner</th><th class="num w2">Waited</th><th class="num">For</th><th class="num w2">Usually</th></tr></thead><tbody>
    ${job.tasks.map(t => {
      const fact = factOf(job, t, runs)
      const ready = Math.max(millis(job.start), ...(t.dependsOn || []).map(d => ends.get(d) || 0))
      return same(t.name, [t, fact, ready, usual[t.name], t.name === chosen], () => html`<tr key=${t.name} class=${t.name === chosen ? 'sel' : ''}><th scope="row" class="main"><a href=${`${jobHref(job.id)}?task=${encodeURIComponent(t.name)}`} aria-current=${t.name === chosen ? 'true' : null}
          onClick=${e => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); onChoose(t.name) }}><bdi>${t.name}</bdi></a></th>
        <td class="fill" title=${fact}><${State} word=${t.status} colour=${t.status === 'error' && t.allowFailure ? 'warn' : undefined} shape=${t.status === 'error' && t.allowFailure ? 'failed' : undefined} /> <span class="dim">${fact}</span></td>
        <td class="w1 cell"><bdi>${t.asked?.length ? `${t.asked.length} runners` : t.runner}</bdi></td>
        <td class="num w2">${t.start && !t.kept && ready ? waited(millis(t.start) - ready) : ''}</td><td class="num">${t.start ? html`<${Took} from=${t.start} to=${t.end} />` : ''}</td>
        <td class="num w2 dim">${usual[t.name] ? duration(usual[t.name] * 1000) : html`<span class="dim3">–</span>`}</td></tr>`)
    })}</tbody></table></div>`
}

// Less than a moment is none.
const waited = ms => (ms < 50 ? html`<span class="dim3">0</span>` : duration(ms))

function Pane({ job, task, runs }) {
  const all = runsOf(task)
  const pick = useSignal('')
  const id = all.some(r => r.id === pick.value) ? pick.value : all[all.length - 1]?.id
  const look = all.find(r => r.id === id)
  // A run's record is there a moment after its task has begun.
  const there = id && (runs.has(id) || (isOver(task) && task.runner))
  const missing = task.missing || []
  return html`<section class="pane" aria-label=${"Task " + task.name}><header><h2><bdi>${task.name}</bdi></h2>
      ${all.length > 1 && html`<span class="fld"><label class="vh" for="which">Run</label><select id="which" value=${id} onChange=${e => { pick.value = e.target.value }}>${all.map(r => { const run = runs.get(r.id); return html`<option value=${r.id}>${r.label}${run ? ', ' + run.state : ''}</option>` })}</select></span>`}
      <span class="grow"></span>
      ${job.completed && may('jobs') && html`<button type="button" class="btn" disabled=${off()} title="Run this task and those behind it again, keep the others" onClick=${() => startAgain(job, { from: task.name })}><${Icon} name="again" />From here</button>`}
      ${there && html`<a class="btn" href=${'/runs/' + encodeURIComponent(id)}>Open run</a>`}</header>
    ${missing.length > 0 && html`<div class="notice"><${Icon} name="missing" /><span><b>${missing.length} missing:</b> <bdi>${missing.slice(0, 20).join(', ')}</bdi>${missing.length > 20 && ' and more'}. They matched and were offline.</span></div>`}
    ${there ? html`<${RunLog} key=${id} id=${id} label=${look.label.startsWith('attempt') ? task.name : `${task.name} on ${look.label}`} />` : html`<${NoLog} job=${job} task=${task} />`}</section>`
}

function RunLog({ id, label }) {
  const { run, error } = useRun(id)
  if (error && !run) return html`<${Problem} what="Cannot show its log" error=${error} next=${error.status === 404 ? 'Records are kept for seven days after the end, unless somebody removes them.' : ''} />`
  return run && html`<${LogView} run=${run} compact label=${label} />`
}

// A task without a log says why.
function NoLog({ job, task }) {
  const [icon, title, words] = {
    waiting: ['pending', 'Not started', factOf(job, task) ? 'It waits ' + factOf(job, task) + '.' : 'It starts when the job does.'],
    running: ['running', 'Starting', 'Its output comes here as soon as a runner has it.'],
    skipped: ['skipped', 'Skipped', `It did not run: ${factOf(job, task).replace('by its', 'its').replace(/condition$/, 'condition did not hold')}.`],
    done: ['complete', 'Nothing to run', 'It has no script of its own: others depend on it.'],
    canceled: ['aborted', 'Canceled', 'It had not started.'],
    error: ['failed', 'It could not be run', task.error],
  }[task.status]
  return html`<div class="nothing1" tabindex="0" role="group" aria-label=${"Output of " + task.name}><${Empty} icon=${icon} title=${title} label="Why there is no output"><p>${words}${millis(task.notBefore) > 0 && html` The next attempt starts <${In} t=${task.notBefore} />.`}</p><//></div>`
}
