// The playground: a program in a language of the fleet, what it reads, and what came of it.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { may, post } from './api.js'
import { bytes, duration, millis } from './time.js'
import { Empty, Icon, Problem, State, Took, copy, isFinal, kept, tell, useTitle } from './ui.js'
import { firstOf, languagesOf, nameOf, sourceOf } from './languages.js'
import { linkOf, programOf, tidy } from './playlink.js'
import { useRun, useTopic } from './state.js'
import { hash } from './router.js'
import { link } from './link.js'
import { Editor } from './editor.js'
import { Output } from './playout.js'
import { words } from './command.js'

const saved = kept('play', null)
const fresh = language => ({ language, version: '', files: [{ name: sourceOf(language), text: firstOf(language) }], stdin: '', args: '', time: '', memory: '' })

// bodyOf is the request. The first file is the program.
export function bodyOf(p) {
  const [main, ...others] = p.files
  const b = { language: p.language, stdin: p.stdin, args: words(p.args) || [], target: {} }
  if (p.version) b.version = p.version
  if (main.name && main.name !== sourceOf(p.language)) b.files = [main, ...others].map(f => ({ name: f.name, content: f.text }))
  else { b.code = main.text; if (others.length) b.files = others.map(f => ({ name: f.name, content: f.text })) }
  const limits = { ...(p.time ? { wallTime: p.time } : {}), ...(p.memory ? { memoryMax: p.memory } : {}) }
  if (Object.keys(limits).length) b.limits = limits
  return b
}

export function Playground() {
  useTitle('Playground')
  const fleet = useTopic('fleet')
  const languages = languagesOf([...fleet.items.values()])
  const p = useSignal(null), at = useSignal(0), problem = useSignal(null), run = useSignal(''), busy = useSignal(false), stamp = useSignal(0)
  const set = change => {
    p.value = { ...p.value, ...change }
    saved.value = p.value
    problem.value = null
    if (location.hash) history.replaceState(null, '', location.pathname) // it holds another program now
  }

  // The program of the link, the one that was written last, or a first one.
  useEffect(() => {
    let stop = false
    programOf(hash.value).catch(error => { problem.value = { what: 'This link holds no program', error }; return null }).then(got => {
      if (stop || (!got && p.value)) return
      const last = !got && saved.value && tidy(saved.value)
      const next = got?.files.length ? got : last?.files?.length ? last : null
      if (next) { p.value = next; at.value = 0; run.value = ''; stamp.value++ }
    })
    return () => { stop = true }
  }, [hash.value])
  const first = languages.find(l => l.name === 'python3') || languages[0]
  useEffect(() => { if (!p.value && fleet.current && first) p.value = fresh(first.name) }, [fleet.current, first?.name, p.value])

  if (fleet.current && !languages.length) {
    return html`<div class="head"><h1>Playground</h1></div><${Empty} icon="offline" title="No runner has a language now" label="Playground" code="apt install python3   # on the runner's machine; it looks again at its start"><p>Programs run where their language is installed. Runners say what they have a moment after they have started.</p><//>`
  }
  if (!p.value) return html`<div class="head"><h1>Playground</h1></div>`
  const v = p.value
  const known = languages.find(l => l.name === v.language)
  const file = v.files[at.value] || v.files[0]
  const setFile = change => set({ files: v.files.map(f => (f === file ? { ...f, ...change } : f)) })
  const pick = value => {
    const [language, version = ''] = value.split(' ')
    // A program that nobody has touched becomes that of the other language.
    const untouched = v.files.length === 1 && v.files[0].text === firstOf(v.language)
    if (untouched) { set({ ...fresh(language), version, stdin: v.stdin, args: v.args, time: v.time, memory: v.memory }); at.value = 0; stamp.value++ } else set({ language, version, files: v.files.map((f, i) => (i === 0 && f.name === sourceOf(v.language) ? { ...f, name: sourceOf(language) } : f)) })
  }
  const wrong = words(v.args) === null ? 'a quote of the arguments is open' : v.files.some((f, i) => i > 0 && !f.name) ? 'a file has no name' : !v.files.some(f => f.text.trim()) ? 'there is no program yet' : ''
  const submit = async e => {
    e?.preventDefault()
    if (wrong || busy.value) return
    busy.value = true
    problem.value = null
    try { run.value = (await post('/api/v1/runs', bodyOf(v))).id } catch (error) { problem.value = { what: 'It was not started', error } }
    busy.value = false
  }
  const share = async () => {
    try {
      const where = await linkOf(v)
      history.replaceState(null, '', location.pathname + where)
      copy(location.href, `a link of ${location.href.length} characters is copied`)
    } catch (err) { tell(err.message) }
  }
  const value = v.language + (v.version ? ' ' + v.version : '')
  const options = languages.flatMap(l => [[l.name, nameOf(l.name) + (l.versions.length === 1 ? ' ' + l.versions[0] : '')], ...(l.versions.length > 1 ? l.versions.map(x => [`${l.name} ${x}`, `${nameOf(l.name)} ${x}`]) : [])])
  if (!options.some(([o]) => o === value)) options.push([value, nameOf(v.language) + (v.version ? ' ' + v.version : '')])
  return html`<div class="head"><h1>Playground</h1><span class="fld"><label class="dim" for="lang">Language</label><select id="lang" value=${value} onChange=${e => pick(e.target.value)}>${options.map(([o, text]) => html`<option value=${o}>${text}</option>`)}</select></span>
      ${fleet.current && !known && html`<span class="c-warn">no runner has it now</span>`}
      <div class="acts1"><button type="button" class="btn" title="Copy a link that holds the program" onClick=${share}><${Icon} name="link" />Link</button>
        <button type="button" class="btn main" title="r" data-key="r" disabled=${!!wrong || busy.value || link.value.state === 'cut'} onClick=${submit}>Run program</button></div></div>
    ${problem.value && html`<${Problem} what=${problem.value.what} error=${problem.value.error} />`}
    <div class="two play"><form class="sheet" aria-label="Program" onSubmit=${submit} onKeyDown=${e => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) submit(e) }}>
      <${Files} v=${v} at=${at} set=${set} file=${file} />
      <div class="form"><div>${at.value > 0 && html`<div class="filename"><label class="lab" for="fname">Name of this file</label><span class="fld"><input id="fname" value=${file.name} autocomplete="off" spellcheck="false" onInput=${e => setFile({ name: e.target.value })} /></span>
          <button type="button" class="btn" onClick=${() => { set({ files: v.files.filter(f => f !== file) }); at.value = 0; stamp.value++ }}>Remove it</button></div>`}
        <${Editor} key=${`${stamp.value}/${at.value}`} label=${file.name || 'program'} language=${at.value ? languageOfFile(file.name) || v.language : v.language} value=${file.text} lines=${16} onChange=${text => setFile({ text })} /></div>
        <div><label class="lab" for="stdin">Standard input</label><textarea id="stdin" rows="3" spellcheck="false" placeholder="none" value=${v.stdin} onInput=${e => set({ stdin: e.target.value })}></textarea></div>
        <div class="rowf">${[['args', 'Arguments', 'none'], ['time', 'Time', 'as the policy says'], ['memory', 'Memory', 'as the policy says']].map(([k, label, hint]) => html`<div><label class="lab" for=${k}>${label}</label><span class="fld"><input id=${k} value=${v[k]} placeholder=${hint} autocomplete="off" spellcheck="false" onInput=${e => set({ [k]: e.target.value })} /></span></div>`)}</div>
        <p class="hintline" aria-live="polite">${wrong || 'Ctrl and Enter run it. It is kept in this browser, and nowhere else until it runs.'}</p></div></form>
    <section class="sheet" aria-label="Result">${run.value ? html`<${Result} key=${run.value} id=${run.value} />` : html`<div class="empty"><${Icon} name="right" /><h2>Nothing has run yet</h2><p>Run the program: what it prints comes here while it runs, and then how it ended, its time and its memory.</p></div>`}</section></div>`
}

// The language of a file by the end of its name, for its colours.
const languageOfFile = name => ({ h: 'c++', hpp: 'c++', cpp: 'c++', c: 'c', py: 'python', js: 'node', go: 'go', rs: 'rust', java: 'java', rb: 'ruby', php: 'php', pl: 'perl', pm: 'perl', lua: 'lua', sh: 'bash' }[/\.(\w+)$/.exec(name)?.[1]] || (name ? 'text' : ''))

function Files({ v, at, set, file }) {
  const add = () => {
    const n = v.files.length
    set({ files: [...v.files, { name: `file${n}.txt`, text: '' }] })
    at.value = n
  }
  return html`<div class="tabs" role="group" aria-label="Files">${v.files.map((f, i) => html`<button type="button" class="btn" aria-pressed=${String(f === file)} onClick=${() => { at.value = i }}><bdi>${f.name || (i ? 'no name' : sourceOf(v.language))}</bdi></button>`)}
    ${v.files.length < 20 && html`<button type="button" class="btn" aria-label="One more file" title="One more file" onClick=${add}><${Icon} name="plus" /></button>`}</div>`
}

// What a run came to, in one line.
export function verdictOf(run) {
  if (!isFinal(run)) return run.state === 'PENDING' ? ['pending', 'off', 'Waits for a place'] : ['running', 'run', 'Running']
  const code = `exit ${run.exitCode || 0}`
  switch (run.reason) {
    case 'compile': return ['failed', 'bad', 'Not compiled, ' + code]
    case 'exit': return run.exitCode ? ['failed', 'bad', 'Ended with ' + code] : ['complete', 'ok', 'Ended well, exit 0']
    case 'signal': return ['failed', 'bad', 'Killed by ' + run.signal]
    case 'timeout': return ['timedout', 'bad', 'Its time was over']
    case 'oom': return ['failed', 'bad', 'It wanted more memory than it may have']
    case 'cpu-limit': return ['timedout', 'bad', 'Its processor time was over']
    case 'output-limit': return ['failed', 'bad', 'It printed more than it may']
    case 'aborted': return ['aborted', 'warn', 'Stopped']
    case 'lost': return ['lost', 'bad', 'The runner was lost']
    case 'expired': return ['timedout', 'bad', 'No place became free in time']
  }
  return ['failed', 'bad', run.error || run.reason || run.state]
}

function Result({ id }) {
  const { run, error } = useRun(id)
  const asked = useSignal(false)
  if (error && !run) return html`<${Problem} what="Cannot show what came of it" error=${error} />`
  if (!run) return null
  const [icon, colour, text] = verdictOf(run)
  const stop = async () => {
    asked.value = true
    try { await post(`/api/v1/runs/${encodeURIComponent(id)}/abort`) } catch (err) { tell('cannot stop it: ' + err.message); asked.value = false }
  }
  return html`<div class="form"><div class="verdictline"><span class=${'verdict c-' + colour} role="status"><${Icon} name=${icon} />${text}</span><span class="grow"></span>
      ${!isFinal(run) && may('run') && html`<button type="button" class="btn harm" disabled=${asked.value} onClick=${stop}><${Icon} name="aborted" />Stop</button>`}</div>
    ${run.error && run.error !== text && html`<p class="say">${run.error}</p>`}
    <${Steps} run=${run} />
    <${Output} run=${run} />
    <p class="say">On <a href=${'/fleet/' + encodeURIComponent(run.runner)}><bdi>${run.runner}</bdi></a>. <a href=${'/runs/' + encodeURIComponent(id)}>The run and its whole log</a></p></div>`
}

function Steps({ run }) {
  const c = run.compile
  const compiled = run.reason === 'compile'
  const seconds = s => (s > 0 ? (s < 10 ? s.toFixed(2) + 's' : duration(s * 1000)) : s === 0 ? '0.00s' : '')
  const memory = n => (n > 0 ? bytes(n) : '')
  const word = s => (s.signal ? s.signal : s.reason && s.reason !== 'exit' && s.reason !== 'compile' ? s.reason : `exit ${s.exitCode || 0}`)
  const state = s => { const good = !s.exitCode && !s.signal && (!s.reason || s.reason === 'exit'); return html`<${State} word=${word(s)} shape=${good ? 'complete' : s.reason === 'timeout' ? 'timedout' : 'failed'} colour=${good ? 'ok' : 'bad'} />` }
  // The program's own time is what is left of the run's behind its compiler.
  const wall = run.ended && run.started ? (millis(run.ended) - millis(run.started)) / 1000 - (c?.wallTime || 0) : undefined
  return html`<table class="steps"><caption class="vh">Steps</caption><thead><tr><th>Step</th><th>State</th><th class="num">Time</th><th class="num w1">Processor</th><th class="num">Memory</th></tr></thead><tbody>
    ${c && html`<tr><th scope="row">compile</th><td>${state(c)}</td><td class="num">${seconds(c.wallTime)}</td><td class="num w1">${seconds(c.cpuTime)}</td><td class="num">${memory(c.peakMemory)}</td></tr>`}
    <tr><th scope="row">run</th>${compiled ? html`<td><${State} word="skipped" /></td><td class="num"></td><td class="num w1"></td><td class="num"></td>`
      : isFinal(run) ? html`<td>${run.reason === 'aborted' ? html`<${State} word="aborted" shape="aborted" colour="warn" />` : state(run)}</td><td class="num">${wall === undefined ? '' : seconds(Math.max(0, wall))}</td><td class="num w1">${seconds(run.cpuTime)}</td><td class="num">${memory(run.peakMemory)}</td>`
        : html`<td><${State} word=${run.state === 'PENDING' ? 'waiting' : 'running'} /></td><td class="num"><${Took} from=${run.started} /></td><td class="num w1"></td><td class="num"></td>`}</tr></tbody></table>`
}
