// The pipelines with their last jobs, all jobs below, and a form that starts one.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get, may, post, query } from './api.js'
import { duration, group, millis } from './time.js'
import { Ago, CopyRow, Empty, Find, Icon, Problem, Took, useTitle } from './ui.js'
import { In, JobState, isOver, jobHref, newerJob, pipelinePath, stateOfJob, useFetched } from './jobs.js'
import { Graph } from './graph.js'
import { go, here, setQuery } from './router.js'
import { useTopic } from './state.js'
import { link } from './link.js'
import { quote } from './command.js'

const eight = 8
const mostWhole = 50 // pipelines of which a list shows all: each is a request of its own
const dash = html`<span class="dim3">–</span>`

// usePipelines has the list; it is read again when one is missing from it, and when somebody comes
// back to the page.
function usePipelines(jobs) {
  const s = useSignal({ list: null, lately: {}, error: null })
  const unknown = [...jobs.values()].filter(j => !j.completed && s.value.list && !s.value.list.some(p => p.name === j.pipeline)).length
  const back = link.value.state === 'back'
  const none = s.value.list?.length === 0
  useEffect(() => {
    let stop = false
    const read = () => get('/api/v1/pipelines').then(got => { if (!stop) s.value = { list: got.pipelines, lately: got.lately || {}, error: null } }, error => { if (!stop) s.value = { ...s.value, error } })
    const timer = setTimeout(read, s.value.list ? 1000 : 0)
    const seen = () => { if (!document.hidden) read() }
    document.addEventListener('visibilitychange', seen)
    addEventListener('focus', seen) // back from a terminal beside it
    const first = none && setInterval(seen, 2000) // no event tells of the first pipeline
    return () => { stop = true; clearTimeout(timer); clearInterval(first); removeEventListener('focus', seen); document.removeEventListener('visibilitychange', seen) }
  }, [unknown, back, none])
  return s.value
}

// what somebody without pipelines can paste as it is
const example = `cat > pipelines.yml <<'END'
pipelines:
  hello:
    tasks:
      build:
        script: [echo building]
      test:
        script: [echo test 1, sleep 3, echo test 2]
        depends_on: [build]
END
runnel pipeline apply pipelines.yml`

export function Pipelines() {
  useTitle('Pipelines')
  const jobs = useTopic('jobs')
  const { list, lately, error } = usePipelines(jobs.items)
  const q = here.value.query
  const text = useSignal(q.text || '')
  const timer = useRef()
  const type = v => { text.value = v; clearTimeout(timer.current); timer.current = setTimeout(() => setQuery({ text: v }), 250) }
  const going = [...jobs.items.values()].filter(j => !j.completed)
  const running = going.filter(j => stateOfJob(j) === 'running').length
  const lower = text.value.toLowerCase()
  const rows = (list || []).filter(p => (!q.pipeline || p.name === q.pipeline) && (!lower || [p.name, p.source].some(t => t?.toLowerCase().includes(lower))))
  const start = q.start && list?.find(p => p.name === q.start)
  if (list && !list.length) {
    return html`<div class="head"><h1>Pipelines</h1></div><${Empty} icon="flow" title="No pipelines yet" label="Pipelines" code=${example}>
      <p>A pipeline is a graph of tasks in a file. Put this one in, and it is listed here, to be started.</p><//>`
  }
  return html`<div class="head"><h1>${q.pipeline ? html`<a class="crumb" href="/jobs">Pipelines</a><bdi>${q.pipeline}</bdi>` : 'Pipelines'}</h1><span class="dim">${list && [`${list.length} ${list.length === 1 ? 'pipeline' : 'pipelines'}`, running && `${running} running`, going.length > running && `${going.length - running} waiting`].filter(Boolean).join(', ')}</span></div>
    <div class="bar"><${Find} label="Name of a pipeline, or text of a job" value=${text.value} onInput=${type} />
      ${q.pipeline && html`<button type="button" class="chip" aria-pressed="true" onClick=${() => setQuery({ pipeline: '' })}>of <bdi>${q.pipeline}</bdi> <${Icon} name="failed" /></button>`}</div>
    ${error && html`<${Problem} what="Cannot list the pipelines" error=${error} />`}
    ${jobs.refused && html`<${Problem} what="Cannot follow the jobs" error=${jobs.refused} />`}
    <div class=${'split ' + (start ? 'open' : 'solo')}><div>
      ${rows.length > 0 && html`<div class="sheet"><table class="names"><caption class="vh">Pipelines by name</caption><thead><tr><th>Pipeline</th><th>Last job</th><th class="w1 o1">Last eight</th><th class="num w1 o1">Usually</th><th class="num w1 o1">Waiting</th><th class="num w2">At a time</th><th class="w2">Schedule</th><th class="w3 o1">Source</th>${may('jobs') && html`<th><span class="vh">Do</span></th>`}</tr></thead>
        <tbody>${rows.map((p, i) => html`<${Row} key=${p.name} p=${p} lately=${lately[p.name]} jobs=${jobs.items} open=${q.start === p.name} whole=${i < mostWhole} />`)}</tbody></table></div>`}
      ${q.pipeline && rows.length === 1 && html`<${Plan} name=${q.pipeline} />`}
      <${Jobs} live=${jobs} text=${lower} pipeline=${q.pipeline || ''} matched=${rows.length} clear=${() => { text.value = ''; setQuery({ text: '', pipeline: '' }) }} /></div>
      ${start && html`<${Start} key=${start.name} name=${start.name} />`}</div>`
}

// What a pipeline's tasks need of each other, before anything runs.
function Plan({ name }) {
  const graph = useFetched(pipelinePath(name) + '/graph', ''), got = useFetched(pipelinePath(name), '').value
  const facts = Object.fromEntries((got?.tasks || []).map(t => [t.name, [placeOf(t.on), t.when && 'when ' + t.when, t.allowFailure && 'may fail'].filter(Boolean).join(', ')]))
  return graph.value?.nodes.length > 0 && html`<div class="sheet plan"><${Graph} graph=${graph.value} usual=${got?.median.tasks} facts=${facts} all=${new Set((got?.tasks || []).filter(t => t.on.all).map(t => t.name))} label=${'Graph of ' + name} /></div>`
}

// On which runners a task runs, as the definition has it.
const placeOf = on => [on.all && (on.pool || on.where ? 'on all' : 'on all runners'), on.runner && 'on ' + on.runner, on.pool && 'of pool ' + on.pool, on.where && 'where ' + on.where].filter(Boolean).join(' ').replace(/^of /, 'in ')

// The last jobs of a pipeline: what was read, and what events have told since.
function lastJobs(name, read, jobs) {
  const all = new Map(read.map(j => [j.id, j]))
  for (const j of jobs.values()) if (j.pipeline === name && !(all.get(j.id)?.completed && !j.completed)) all.set(j.id, j)
  return [...all.values()].sort(newerJob)
}

function Row({ p, lately, jobs, open, whole }) {
  const ended = [...jobs.values()].reduce((n, j) => n + (j.pipeline === p.name && j.completed ? 1 : 0), 0)
  const { value: got } = useFetched(whole ? pipelinePath(p.name) : '', String(ended))
  const last = lastJobs(p.name, got?.jobs || (lately ? [lately.last] : []), jobs)
  const running = last.filter(j => stateOfJob(j) === 'running'), waiting = last.filter(j => stateOfJob(j) === 'waiting').length
  const job = running[0] || last.find(j => stateOfJob(j) !== 'waiting') || last[0]
  const usual = got ? got.median.seconds : lately?.seconds
  const rules = (got?.timers || []).map(t => (t.every ? 'every ' + t.every : t.cron) + (t.tz ? ' ' + t.tz : '')).join('; ')
  let atATime = 0
  if (got) { try { atATime = JSON.parse(got.pipeline.definition).concurrency || 1 } catch { /* it is the server's */ } }
  const state = job && stateOfJob(job)
  const said = job && (job.lastError || (state === 'canceled' && job.reason))
  const about = job && (state === 'running' ? html`${running.length > 1 && `${running.length} of them, `}for <${Took} from=${job.start} />` : html`<${Ago} t=${job.end || job.created} />${said && html`, <bdi>${said}</bdi>`}`)
  return html`<tr class=${(open ? 'sel' : '') + (p.removed ? ' off' : '')}><th scope="row" class="main"><a href=${'/jobs?pipeline=' + encodeURIComponent(p.name)}><bdi>${p.name}</bdi></a><span class="narrow">${[p.removed && 'removed', waiting && `${waiting} waiting`].filter(Boolean).join(', ')}</span></th>
    <td class="cell wide1" title=${said || null}>${job ? html`<a class="plain" href=${jobHref(job.id)}><${JobState} job=${job} /></a> <span class="dim w1">${about}</span><span class="narrow">${about}</span>` : html`<span class="dim3">none yet</span>`}</td>
    <td class="w1 o1"><${History} last=${last.slice(0, eight)} /></td>
    <td class="num w1 o1">${usual ? duration(usual * 1000) : dash}</td><td class="num w1 o1">${waiting || html`<span class="dim3">0</span>`}</td>
    <td class="num w2">${atATime || dash}</td><td class="w2 dim cell" title=${rules || null}>${rules || dash}</td>
    <td class="w3 o1 mono dim cell" title=${p.source}><bdi>${p.source}</bdi></td>
    ${may('jobs') && html`<td class="acts">${!p.removed && html`<button type="button" class="btn" aria-label=${'Start ' + p.name} aria-expanded=${String(open)} onClick=${() => setQuery({ start: open ? '' : p.name })}>Start</button>`}</td>`}</tr>`
}

// The last jobs as marks, newest right.
function History({ last }) {
  const marks = { done: ['k', 'm2 6 3 3 5-6'], error: ['x', 'm2 2 7 7m0-7-7 7'], canceled: ['c', 'M2 2h7v7h-7z'], running: ['r', 'm2 2 7 4-7 4z'], waiting: ['w', 'M2 6h7'] }
  const list = [...last].reverse()
  if (!list.length) return dash
  return html`<svg class="hist" viewBox="0 0 118 12" role="img" aria-label=${'last jobs, newest right: ' + list.map(stateOfJob).join(', ')}>${list.map((j, i) => html`<g key=${j.id} transform=${`translate(${i * 15} 0)`}><title>${stateOfJob(j)}</title><path class=${marks[stateOfJob(j)][0]} d=${marks[stateOfJob(j)][1]} /></g>`)}</svg>`
}

const page = 100

// All jobs, newest first: live, endless; new ones wait while somebody points at the list.
function Jobs({ live, text, pipeline, matched, clear }) {
  const read = useSignal({ of: null, jobs: [], next: '', loading: true, error: null })
  const held = useSignal(0), busy = useRef(false), shownIds = useRef(new Set())
  const sentinel = useRef()
  const load = async next => {
    read.value = { ...read.value, loading: true }
    try {
      const got = await get('/api/v1/jobs' + query({ pipeline, limit: page, next }))
      read.value = { of: pipeline, jobs: next ? [...read.value.jobs, ...got.jobs] : got.jobs, next: got.next, loading: false, error: null }
    } catch (error) { read.value = { ...read.value, loading: false, error } }
  }
  useEffect(() => { shownIds.current = new Set(); load('') }, [pipeline])
  useEffect(() => {
    const seen = new IntersectionObserver(e => { if (e[0].isIntersecting && read.value.next && !read.value.loading) load(read.value.next) }, { rootMargin: '600px' })
    if (sentinel.current) seen.observe(sentinel.current)
    return () => seen.disconnect()
  }, [pipeline, read.value.next])

  const all = new Map(read.value.of === pipeline ? read.value.jobs.map(j => [j.id, j]) : [])
  const oldest = read.value.next ? Math.min(...[...all.values()].map(j => millis(j.created))) : 0
  for (const j of live.items.values()) if ((!pipeline || j.pipeline === pipeline) && millis(j.created) >= oldest) all.set(j.id, j)
  let rows = [...all.values()].sort(newerJob)
  // Older ones that came as one scrolled are not new.
  const asked = new Set(read.value.of === pipeline ? read.value.jobs.map(j => j.id) : [])
  const fresh = rows.filter(j => !shownIds.current.has(j.id) && !asked.has(j.id))
  const hold = fresh.length > 0 && shownIds.current.size > 0 && (busy.current || scrollY > 200)
  if (hold) rows = rows.filter(j => shownIds.current.has(j.id) || asked.has(j.id))
  else shownIds.current = new Set(rows.map(j => j.id))
  useEffect(() => { held.value = hold ? fresh.length : 0 })
  const showNew = () => { shownIds.current = new Set(); held.value = 0; read.value = { ...read.value } }
  const found = text ? rows.filter(j => [j.id, j.pipeline, j.user, j.lastError, j.reason, j.variablesJson, stateOfJob(j)].some(t => t?.toLowerCase().includes(text))) : rows
  if (!read.value.loading && !found.length && !read.value.error) {
    if (text && !matched) return html`<${Empty} icon="find" title="Nothing matches" label="Jobs"><p>No pipeline and no job has this in it.</p><button type="button" class="btn" onClick=${clear}>Clear the filter</button><//>`
    return html`<div class="head"><h2 class="z4">Jobs</h2></div>${text ? html`<p class="pad dim">No job has this in it.</p>` : html`<${Empty} icon="pending" title="No jobs yet" label="Jobs" code=${`runnel pipeline run ${pipeline ? quote(pipeline) : 'NAME'} --follow`}><p>Start one above, or from the command line. It is listed here at once.</p><//>`}`
  }
  return html`<div class="head"><h2 class="z4">Jobs</h2><span class="dim">newest first</span>${held.value > 0 && html`<button type="button" class="chip" onClick=${showNew}><${Icon} name="up" /><b>${held.value}</b> new</button>`}</div>
    ${read.value.error && html`<${Problem} what="Cannot list the jobs" error=${read.value.error} />`}
    <div class="sheet" onPointerEnter=${() => { busy.current = true }} onPointerLeave=${() => { busy.current = false; if (held.value) showNew() }}><table class="names"><caption class="vh">Jobs, newest first</caption>
      <thead><tr><th>Job</th><th>State</th><th class="num w1 o1">Created</th><th class="num">For</th><th class="w1 o1">By</th><th class="w1">Outcome</th></tr></thead>
      <tbody>${found.map(j => html`<${JobRow} key=${j.id} j=${j} />`)}</tbody></table>
      <div class="more" ref=${sentinel}>${read.value.loading ? 'reading' : read.value.next ? 'more come as you scroll' : `${group(found.length)} ${found.length === 1 ? 'job' : 'jobs'}`}</div></div>`
}

function JobRow({ j }) {
  const state = stateOfJob(j)
  const outcome = state === 'error' ? j.lastError : state === 'canceled' ? [j.canceledBy && 'by ' + j.canceledBy, j.reason].filter(Boolean).join(': ')
    : state === 'running' ? `${j.tasks.filter(isOver).length} of ${j.tasks.length} tasks`
      : state === 'waiting' && millis(j.notBefore) ? html`starts <${In} t=${j.notBefore} />` : ''
  return html`<tr><th scope="row" class="main"><a href=${jobHref(j.id)}><bdi>${j.pipeline}</bdi> <span class="jobid">${j.id.slice(0, 8)}</span></a><span class="narrow">${outcome}</span></th>
    <td><${JobState} job=${j} /></td><td class="num w1 o1"><${Ago} t=${j.created} /></td><td class="num">${millis(j.start) ? html`<${Took} from=${j.start} to=${j.end} />` : dash}</td>
    <td class="w1 o1 cell"><bdi>${j.user}</bdi></td><td class=${'fill w1 ' + (state === 'error' ? 'c-bad' : 'dim')} title=${typeof outcome === 'string' ? outcome : null}>${outcome}</td></tr>`
}

// A form made of the variables that the pipeline's templates use.
function Start({ name }) {
  const { value: got, error } = useFetched(pipelinePath(name), '')
  const values = useSignal({}), problem = useSignal(null), busy = useSignal(false), partition = useSignal('')
  const first = useRef()
  const close = () => setQuery({ start: '' })
  useEffect(() => { first.current?.querySelector('input, button.main')?.focus() }, [!!got])
  const variables = got ? variablesOf(got) : []
  let partitioned = false
  try { partitioned = JSON.parse(got?.pipeline.definition || '{}').queue_strategy === 'partitioned_replace' } catch { /* it is the server's */ }
  // A variable with a default is given as an empty text: a template fails on one that is not there.
  const given = Object.fromEntries(variables.map(v => [v.name, values.value[v.name] || (v.default !== undefined && !v.required ? '' : undefined)]).filter(([, v]) => v !== undefined))
  const missing = variables.filter(v => v.required && !(v.name in given))
  const submit = async e => {
    e.preventDefault()
    busy.value = true
    try { go(jobHref((await post(pipelinePath(name) + '/jobs', { variables: given, ...(partition.value ? { queuePartition: partition.value } : {}) })).id)) } catch (err) { problem.value = err; busy.value = false }
  }
  const command = ['runnel pipeline run ' + quote(name), ...Object.entries(given).map(([k, v]) => '--var ' + quote(`${k}=${v}`)), '--follow'].join(' ')
  const field = (id, label, value, onInput, placeholder, hint, bad) => html`<div><label class="lab" for=${id}><bdi>${label}</bdi></label><span class="fld"><input id=${id} value=${value} placeholder=${placeholder} autocomplete="off" spellcheck="false" aria-describedby=${hint ? id + 'h' : null} onInput=${e => { problem.value = null; onInput(e.target.value) }} /></span>${hint && html`<p id=${id + 'h'} class=${'hintline' + (bad ? ' no1' : '')}>${hint}</p>`}</div>`
  return html`<aside class="sheet side" aria-label=${'Start ' + name} onKeyDown=${e => { if (e.key === 'Escape' && e.target.tagName !== 'INPUT') close() }}><header><h2>Start <bdi>${name}</bdi></h2></header>
    ${error && html`<${Problem} what="Cannot read the pipeline" error=${error} />`}
    ${got && html`<form class="form" ref=${first} onSubmit=${submit}>
      <p class="say">${variables.length ? 'The variables that its tasks use. What is left empty takes the value shown.' : 'Its tasks use no variables.'}</p>
      ${variables.map((v, i) => field('v' + i, v.name, values.value[v.name] || '', t => { values.value = { ...values.value, [v.name]: t } }, v.default || (v.required ? 'needed' : 'empty'), v.hint, v.required && !(v.name in given)))}
      ${partitioned && field('partition', 'Partition of the queue', partition.value, t => { partition.value = t }, 'none', 'A job that waits replaces one of the same partition.')}
      ${problem.value && html`<${Problem} what="It was not started" error=${problem.value} />`}
      <div class="chips"><button class="btn main" disabled=${busy.value || missing.length > 0 || link.value.state === 'cut'}>Start</button><button type="button" class="btn" onClick=${close}>Leave</button>${missing.length > 0 && html`<span class="dim">${missing.map(v => v.name).join(', ')} must be given</span>`}</div>
      <${CopyRow} label="The same by hand" text=${command} /></form>`}</aside>`
}

// The variables with what is known of each: where it is used, its default, whether it must be given.
function variablesOf(got) {
  return (got.variables || (got.pipeline.variables || []).map(name => ({ name }))).map(v => {
    const used = v.tasks?.length ? 'used by ' + v.tasks.join(', ') : ''
    return { ...v, default: v.default === undefined ? undefined : String(v.default), hint: v.required ? `${used || 'it is used'} without a default, so it must be given` : used }
  })
}
