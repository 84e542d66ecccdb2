// The rail beside a log: where one is in all of it, where standard error is, where a search has
// found something. What is drawn while one scrolls is one attribute; marks are drawn now and then.
const high = 1000
const calm = 400 // ms between two drawings of marks

const draw = (name, cls, at) => {
  const el = document.createElementNS('http://www.w3.org/2000/svg', name)
  if (cls) el.setAttribute('class', cls)
  for (const [k, v] of Object.entries(at)) el.setAttribute(k, v)
  return el
}

// marksOf is the path of marks for rows of so many, at a place from the left.
export function marksOf(rows, total, x) {
  const seen = new Uint8Array(high + 1)
  for (const row of rows) seen[Math.min(high, Math.max(0, Math.round(row / Math.max(1, total) * high)))] = 1
  let d = ''
  for (let y = 0; y <= high; y++) if (seen[y]) d += `M${x} ${y}h4v3h-4z`
  return d
}

export class Rail {
  constructor(el, model) {
    this.model = model
    this.hits = []
    this.at = draw('rect', 'w', { x: 1, width: 11 })
    this.errs = draw('path', 'e', {})
    this.found = draw('path', 'h', {})
    this.el = draw('svg', 'rail', { viewBox: `0 0 12 ${high}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' })
    this.el.append(this.at, this.errs, this.found)
    el.append(this.el)
  }
  destroy() { clearTimeout(this.timer); this.el.remove() }

  // drawn: these rows are seen now.
  drawn(from, to) {
    const total = Math.max(1, this.model.count)
    this.at.setAttribute('y', from / total * high)
    this.at.setAttribute('height', Math.max(8, (to - from) / total * high))
    this.later()
  }

  show(hits) { this.hits = hits; this.key = ''; this.later() }

  later() { this.timer ||= setTimeout(() => { this.timer = 0; this.mark() }, calm) }

  mark() {
    const m = this.model, total = m.count
    const key = `${m.errs.size} ${total} ${this.hits.length} ${!!m.errLines}`
    if (key === this.key) return
    this.key = key
    const rows = function * (lines) { for (const n of lines) yield m.rowOf(n) }
    this.errs.setAttribute('d', marksOf(rows(m.errs), total, 2))
    this.found.setAttribute('d', marksOf(rows(this.hits), total, 7))
  }
}
