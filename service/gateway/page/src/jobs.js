// What jobs and their tasks are like, as people say it.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { get } from './api.js'
import { duration, millis, ticking } from './time.js'
import { State, isFinal } from './ui.js'
import { useTopic } from './state.js'

export const jobPath = id => '/api/v1/jobs/' + encodeURIComponent(id)
export const pipelinePath = name => '/api/v1/pipelines/' + encodeURIComponent(name)
export const jobHref = id => '/jobs/' + encodeURIComponent(id)

export const stateOfJob = j => (j.completed ? (j.canceled ? 'canceled' : j.errored ? 'error' : 'done') : millis(j.start) ? 'running' : 'waiting')
export const isOver = t => !['waiting', 'running'].includes(t.status)
export const newerJob = (a, b) => millis(b.created) - millis(a.created) || (a.id < b.id ? 1 : -1)

export const JobState = ({ job, big, more }) => html`<${State} word=${stateOfJob(job)} big=${big} reason=${more} />`

export function nth(n) {
  const words = ['', 'first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth', 'ninth']
  if (words[n]) return words[n]
  const tens = n % 100
  return n + (tens > 10 && tens < 14 ? 'th' : { 1: 'st', 2: 'nd', 3: 'rd' }[n % 10] || 'th')
}

// "in 4s", ticking, until a time has come.
export const In = ({ t }) => {
  const at = millis(t)
  const text = useRef()
  if (text.current?.at !== at) text.current = { at, is: ticking(now => (at > now ? 'in ' + duration(Math.ceil((at - now) / 1000) * 1000).replace('.0s', 's') : 'now')) }
  return html`<span>${text.current.is}</span>`
}

// Why a task that did not run was skipped, as far as its neighbours tell.
export function whySkipped(job, t) {
  const of = name => job.tasks.find(x => x.name === name)
  const bad = (t.dependsOn || []).map(of).filter(d => d && (d.status === 'skipped' || d.status === 'canceled' || (d.status === 'error' && !d.allowFailure)))
  if (!bad.length) return 'by its condition'
  const words = { skipped: 'was skipped', canceled: 'was canceled', error: 'failed' }
  return `${bad[0].name} ${words[bad[0].status]}`
}

export const needsOf = (job, t) => (t.dependsOn || []).filter(name => { const d = job.tasks.find(x => x.name === name); return d && !isOver(d) })

// The runs of a task: one an attempt, or one a runner.
export function runsOf(t) {
  const runs = t.runs || []
  if (t.asked?.length || runs.length > 1) {
    return runs.map(id => ({ id, label: (t.asked || []).filter(name => id.endsWith('-' + name)).sort((a, b) => b.length - a.length)[0] || id }))
  }
  if (!runs.length) return []
  const first = runs[0].replace(/-a\d+$/, '')
  const n = Math.max(1, Number(/-a(\d+)$/.exec(runs[0])?.[1] || 1))
  return Array.from({ length: n }, (_, i) => ({ id: i ? `${first}-a${i + 1}` : first, label: `attempt ${i + 1}` }))
}

// What follows the word of a task's state.
export function factOf(job, t, runs) {
  switch (t.status) {
    case 'error': return (t.exitCode > 0 && /^exit/.test(t.error || '') ? `exit ${t.exitCode}` : t.error || `exit ${t.exitCode}`) + (t.allowFailure ? ', allowed' : '')
    case 'running': return t.asked?.length ? `${t.runs.filter(id => isFinal(runs?.get(id))).length} of ${t.asked.length} done` : ''
    case 'skipped': return whySkipped(job, t)
    case 'waiting': { const needs = needsOf(job, t); return needs.length ? 'for ' + needs.join(', ') : '' }
  }
  return t.kept ? 'kept' : ''
}

// useJob has a job, and what the server says if there is none.
export function useJob(id) {
  const s = useSignal({ id: '', job: null, error: null })
  const topic = useTopic('job:' + id)
  const live = topic.items.get(id)
  useEffect(() => {
    let stop = false, timer
    const look = async () => {
      try {
        const job = await get(jobPath(id))
        if (!stop) s.value = { id, job, error: null }
      } catch (error) {
        if (stop) return
        s.value = { ...s.value, id, error }
        if (!error.status || error.status === 503) timer = setTimeout(look, 1000)
      }
    }
    look()
    return () => { stop = true; clearTimeout(timer) }
  }, [id])
  const read = s.value.id === id ? s.value.job : null
  const job = live && !(read?.completed && !live.completed) ? live : read
  return { job, error: s.value.id === id ? s.value.error : null }
}

// useFetched reads something, and again when its key changes; what was there stays meanwhile.
export function useFetched(path, key) {
  const s = useSignal({ path: '', value: null, error: null })
  useEffect(() => {
    if (!path) return
    let stop = false
    get(path).then(value => { if (!stop) s.value = { path, value, error: null } }, error => { if (!stop) s.value = { ...s.value, path, error } })
    return () => { stop = true }
  }, [path, key])
  return s.value.path === path ? s.value : { value: null, error: null }
}

// useSame gives what was made for a name again as long as its key is the same: what is the same is
// not looked at when the rest is drawn.
export function useSame() {
  const had = useRef(new Map())
  return (name, key, make) => {
    const text = JSON.stringify(key)
    if (had.current.get(name)?.text !== text) had.current.set(name, { text, is: make() })
    return had.current.get(name).is
  }
}
