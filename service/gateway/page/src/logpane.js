// The view of a log: only rows that are seen exist. The place is held by a row and by how far it
// is scrolled out at the top, never by pixels of the whole: rows may wrap and a log may be longer
// than a browser's page can be high.
import { dress } from './ansi.js'
import { clock, full, group, duration, bytes } from './time.js'
import { now } from './api.js'

const line = 20               // px of a row that does not wrap
const highest = 24e6          // px that an element may be high, with room
const over = 12               // rows above and below what is seen

const make = (tag, cls, ...children) => {
  const el = document.createElement(tag)
  if (cls) el.className = cls
  el.append(...children)
  return el
}
const icon = name => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('class', 'ico')
  svg.setAttribute('aria-hidden', 'true')
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use')
  use.setAttribute('href', '#i-' + name)
  svg.append(use)
  return svg
}

export class LogPane {
  // options: label, anchors (numbers are links), onState(called when follow or place changes)
  constructor(el, model, options = {}) {
    this.model = model
    this.options = options
    this.follow = true
    this.wrap = true
    this.times = 'clock'
    this.row = 0
    this.off = 0
    this.missed = 0
    this.cells = new Map()
    this.spacer = make('div', 'spacer')
    this.rows = make('div', 'rows')
    this.log = make('div', 'log', this.spacer, this.rows)
    this.log.tabIndex = 0
    this.log.setAttribute('role', 'region')
    this.log.setAttribute('aria-label', options.label || 'Lines')
    el.append(this.log)
    this.log.addEventListener('scroll', () => this.scrolled(), { passive: true })
    this.log.addEventListener('click', e => this.clicked(e))
    this.log.addEventListener('keydown', e => this.key(e))
    this.sizes = new ResizeObserver(() => this.refresh())
    this.sizes.observe(this.log)
    this.top = 0
    this.last = 0
  }

  destroy() {
    this.sizes.disconnect()
    cancelAnimationFrame(this.frame)
    clearTimeout(this.idle)
    this.log.remove()
  }

  // refresh draws in the next frame, once.
  refresh() {
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw() })
  }

  set(change) {
    Object.assign(this, change)
    this.cells.clear()
    this.log.classList.toggle('nowrap', !this.wrap)
    this.log.classList.toggle('notime', this.times === 'off')
    this.refresh()
  }

  get scale() { return Math.min(1, highest / Math.max(1, this.model.count * line)) }
  get height() { return this.log.clientHeight }

  // to shows a line: in the middle, or where asked.
  to(n, part = .35) {
    this.setFollow(false)
    this.row = this.model.rowOf(n)
    this.off = -Math.round(this.height * part)
    while (this.off < 0 && this.row > 0) { this.row--; this.off += line }
    this.off = Math.max(0, this.off)
    this.jumped = true
    this.draw()
  }
  toFirst() { this.setFollow(false); this.row = 0; this.off = 0; this.jumped = true; this.draw() }
  toLast() { this.setFollow(true); this.draw() }

  setFollow(on) {
    if (on) this.missed = 0
    if (on === this.follow) return
    this.follow = on
    this.seen = this.model.next
    this.options.onState?.()
  }

  scrolled() {
    const top = this.log.scrollTop
    if (Math.abs(top - this.last) < 1) return
    const by = top - this.last
    this.last = top
    const rect = this.log.scrollHeight - this.height
    if (by < 0 && this.follow && top < rect - 2) this.setFollow(false)
    if (Math.abs(by) > 2 * this.height) this.leap(top)
    else this.walk(top)
    if (!this.follow && by > 0 && top >= rect - 2 && this.ends) this.setFollow(true)
    this.refresh()
    clearTimeout(this.idle)
    this.idle = setTimeout(() => this.settle(), 150)
  }

  leap(top) {
    const at = top / (line * this.scale)
    this.row = Math.min(Math.max(0, this.model.count - 1), Math.floor(at))
    this.off = this.scale === 1 ? top % line : 0
    this.jumped = true
  }

  walk(top) {
    let y = this.top
    for (const el of this.rows.children) {
      const h = el.offsetHeight
      if (y + h > top) {
        if (y > top) break
        this.row = Number(el.dataset.row)
        this.off = top - y
        return
      }
      y += h
    }
    const from = y > top ? this.top - top : top - y // beyond what is drawn
    const known = y > top ? this.drawn[0] - Math.ceil(from / line) : this.drawn[1] + Math.floor(from / line)
    this.row = Math.min(Math.max(0, known), Math.max(0, this.model.count - 1))
    this.off = 0
  }

  // settle has the bar say where one is, after rows of other heights were passed.
  settle() {
    if (this.follow || !this.drawn) return
    const want = this.drawn[0] * line * this.scale
    if (Math.abs(want - this.top) > this.height && this.drawn[0] > 0 && !this.ends) { this.jumped = true; this.draw() }
  }

  draw() {
    const m = this.model, count = m.count, h = this.height
    if (!h) return
    const fit = Math.ceil(h / line)
    if (this.follow) { this.row = Math.max(0, count - fit); this.off = 0 }
    this.row = Math.min(this.row, Math.max(0, count - 1))
    const from = Math.max(0, this.row - over), to = Math.min(count, this.row + fit + over)
    this.fill(from, to)
    this.drawn = [from, to]
    this.ends = to >= count
    this.place(from, to, count)
    m.need(from, to)
    this.options.onDraw?.(from, to)
  }

  // place puts the rows where the anchor stays, and makes the whole as high as it is.
  place(from, to, count) {
    const anchor = this.rows.children[this.row - from]
    const above = anchor ? anchor.offsetTop : 0
    const high = this.rows.offsetHeight
    const scale = this.scale
    if (this.jumped || this.top === undefined) this.top = Math.round(from * line * scale)
    else this.top = this.last - this.off - above
    let shift = 0
    if (from === 0 && this.top !== 0) shift = -this.top
    else if (from > 0 && this.top < from * line * scale * .2) shift = Math.round(from * line * scale) - this.top
    this.top += shift
    const total = this.top + high + Math.round((count - to) * line * scale)
    this.spacer.style.height = total + this.pad + 'px'
    this.rows.style.transform = `translateY(${this.top}px)`
    const max = Math.max(0, total + this.pad - this.height)
    const want = this.follow ? max : Math.min(max, this.top + above + this.off)
    this.jumped = false
    if (Math.abs(want - this.log.scrollTop) > .5) this.log.scrollTop = want
    this.last = this.log.scrollTop
    if (this.follow) this.walk(this.last)
  }

  get pad() { return this.options.pad ?? 44 }

  fill(from, to) {
    const keep = new Map()
    let at = this.rows.firstChild
    for (let row = from; row < to; row++) {
      const n = this.model.numberAt(row), l = this.model.line(n)
      const old = this.cells.get(n)
      const mark = this.mark(n)
      const el = old && old.line === l && old.mark === mark && old.row === row ? old.el : this.render(row, n, l)
      keep.set(n, { line: l, mark, row, el })
      if (at === el) at = at.nextSibling
      else this.rows.insertBefore(el, at)
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next }
    this.cells = keep
  }

  mark(n) {
    const [a, b] = this.chosen || []
    return (n >= a && n <= b ? 'at ' : '') + (this.hit ? this.hit.stamp + (this.hit.line === n ? '!' : '') : '') + (this.times === 'ago' ? Math.floor(now() / 1000) : '')
  }

  time(l) {
    const t = Number(l.t) / 1e6
    if (this.times === 'start') return '+' + since(t - this.options.started())
    if (this.times === 'ago') return since(now() - t)
    return clock(t)
  }

  render(row, n, l) {
    const el = make('div', 'ln')
    el.dataset.row = row
    if (this.options.anchors) el.id = 'L' + n
    const number = make('a', '', String(n))
    if (this.options.anchors) { number.href = '#L' + n; number.tabIndex = -1; number.dataset.outside = '' }
    const gutter = make('span', 'g', number)
    el.append(gutter)
    const time = make('time')
    gutter.append(time)
    if (!l || l.nothing) { el.classList.add(l ? 'dropped' : 'soon'); gutter.append(make('i')); el.append(make('code', '', l ? '·' : '')); return el }
    time.textContent = this.time(l)
    time.dateTime = new Date(Number(l.t) / 1e6).toISOString()
    time.title = full(Number(l.t) / 1e6)
    gutter.append(make('i', '', l.s === 'stderr' ? 'err' : l.step ? '' : ''))
    if (l.s === 'stderr') el.classList.add('err')
    const [a, b] = this.chosen || []
    if (n >= a && n <= b) el.classList.add('at')
    if (l.gap) { el.classList.add('gap'); el.append(gapWords(n, l.gap)); return el }
    const code = make('code')
    this.text(code, n, l)
    el.append(code)
    return el
  }

  text(code, n, l) {
    const hits = this.hit ? this.hit.find(l.parsed.text) : []
    let at = 0, k = 0
    for (const p of l.parsed.pieces) {
      let from = 0
      const span = p.style ? make('span') : code
      if (p.style) { dress(span, p.style); code.append(span) }
      while (from < p.text.length) {
        while (k < hits.length && hits[k][1] <= at + from) k++
        const hit = hits[k]
        const inside = hit && hit[0] <= at + from
        const end = Math.min(p.text.length, (inside ? hit[1] : hit ? hit[0] : Infinity) - at)
        const text = p.text.slice(from, end)
        span.append(inside ? make('mark', n === this.hit.line && k === (this.hit.nth || 0) ? 'cur' : '', text) : text)
        from = end
      }
      at += p.text.length
    }
    if (!at) code.append(' ')
    const times = (l.cr || 0) + l.parsed.rewritten
    if (times > 0) code.append(make('span', 're', `rewritten ${group(times)} ${times === 1 ? 'time' : 'times'}`))
    if (l.cut) {
      const b = make('button', 'cutline', `${bytes(l.cut)} more on this line, show`)
      b.type = 'button'
      b.tabIndex = -1
      b.dataset.whole = n
      code.append(b)
    }
  }

  clicked(e) {
    const b = e.target.closest('[data-whole]')
    if (b) { this.model.whole(Number(b.dataset.whole)); return }
    const a = e.target.closest('.g a[href]')
    if (!a) return
    e.preventDefault()
    const n = Number(a.textContent)
    this.setFollow(false)
    const [from] = this.chosen || []
    const range = e.shiftKey && from ? [Math.min(from, n), Math.max(from, n)] : [n, n]
    this.options.onChoose?.(...range)
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target !== this.log) return
    if (e.key === 'Home') { e.preventDefault(); this.toFirst() }
    if (e.key === 'End') { e.preventDefault(); this.toLast() }
  }

  choose(from, to) {
    this.chosen = from ? [from, to || from] : undefined
    this.refresh()
  }
}

function since(ms) {
  const two = n => String(n).padStart(2, '0')
  const sign = ms < 0 ? '−' : ''
  ms = Math.abs(ms)
  if (ms >= 86400e3) return sign + duration(ms)
  const h = Math.floor(ms / 3600e3)
  return sign + (h ? two(h) + ':' : '') + two(Math.floor(ms / 60e3) % 60) + ':' + two(Math.floor(ms / 1e3) % 60) + '.' + String(Math.floor(ms % 1e3)).padStart(3, '0')
}

function gapWords(n, { lines, bytes: b }) {
  const what = lines > 1 ? `Lines ${n} to ${n + lines - 1} were dropped: ${group(lines)} lines, ` : lines === 1 ? `Line ${n} was dropped: ` : 'The end of a line was dropped: '
  return make('span', 'notice', icon('gap'), make('span', '', make('b', '', what + bytes(b) + '.')))
}
