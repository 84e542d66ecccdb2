// What a program prints, as it comes: the compiler's words apart from the program's.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'
import { dress } from './ansi.js'
import { LogModel } from './logmodel.js'
import { group } from './time.js'
import { isFinal } from './ui.js'

const most = 1000 // lines that are shown; the whole log has the others

const make = (tag, cls, ...children) => {
  const el = document.createElement(tag)
  if (cls) el.className = cls
  el.append(...children)
  return el
}

function row(l, number) {
  const code = make('code')
  for (const p of l.parsed.pieces) {
    if (!p.style) { code.append(p.text); continue }
    const span = make('span', '', p.text)
    dress(span, p.style)
    code.append(span)
  }
  if (!l.parsed.pieces.length) code.append(' ')
  return make('div', l.s === 'stderr' ? 'ln err' : 'ln', make('span', 'g', make('b', '', String(number)), make('i', '', l.s === 'stderr' ? 'err' : '')), code)
}

// Part draws the lines of one step; rows that have not changed stay as they are.
class Part {
  constructor() { this.rows = []; this.count = 0 }
  fill(el, lines) {
    lines.forEach((l, i) => {
      const had = this.rows[i]
      if (had && had.line === l && had.parsed === l.parsed) return
      const next = row(l, i + 1)
      if (had) had.el.replaceWith(next); else el.append(next)
      this.rows[i] = { line: l, parsed: l.parsed, el: next }
    })
    while (this.rows.length > lines.length) this.rows.pop().el.remove()
  }
}

export function Output({ run }) {
  const boxes = { compile: useRef(), run: useRef() }
  const counts = useSignal({ compile: 0, run: 0, left: 0, end: false, error: null })
  useEffect(() => {
    const parts = { compile: new Part(), run: new Part() }
    let frame = 0
    const draw = () => {
      frame = 0
      model.need(0, Math.min(model.count, most))
      const lines = { compile: [], run: [] }
      for (let n = model.first; n < Math.min(model.next, model.first + most); n++) {
        const l = model.line(n)
        if (l?.parsed) lines[l.step === 'compile' ? 'compile' : 'run'].push(l)
      }
      for (const k of ['compile', 'run']) parts[k].fill(boxes[k].current, lines[k])
      counts.value = { compile: lines.compile.length, run: lines.run.length, left: Math.max(0, model.count - most), end: !!model.end, error: model.error }
    }
    const model = new LogModel(run.id, () => { frame ||= requestAnimationFrame(draw) })
    model.open()
    return () => { cancelAnimationFrame(frame); model.close() }
  }, [run.id])
  const c = counts.value
  const none = isFinal(run) && c.end && !c.run
  return html`<div hidden=${!c.compile}><span class="lab">What the compiler says</span><div class="ed out" tabindex="0" role="region" aria-label="What the compiler says" ref=${boxes.compile}></div></div>
    <div hidden=${run.reason === 'compile' && !c.run}><span class="lab">Output</span><div class="ed out" tabindex="0" role="region" aria-label="Output" hidden=${none} ref=${boxes.run}></div>
      ${none && html`<p class="say">It printed nothing.</p>`}${c.left > 0 && html`<p class="say">${group(c.left)} more lines are in its log.</p>`}
      ${c.error && html`<p class="say c-bad">Cannot read its output: ${c.error.message}</p>`}</div>`
}
