// A line as a terminal would show it: colours, carriage returns, moves in the line.
// The rest of what terminals do is left out, never shown.

// what carriage returns, backspaces and moves leave of a line, as cells of [char, style]
class Row {
  constructor() { this.cells = []; this.at = 0 }
  put(ch, style) {
    while (this.cells.length < this.at) this.cells.push([' ', null])
    this.cells[this.at++] = [ch, style]
  }
  erase(how) {
    if (how === 2) this.cells = []
    else if (how === 1) for (let i = 0; i <= this.at && i < this.cells.length; i++) this.cells[i] = [' ', null]
    else this.cells.length = Math.min(this.cells.length, this.at)
  }
}

const plain = { fg: '', bg: '', bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false, hide: false }
const hex = n => n.toString(16).padStart(2, '0')
const rgb = (r, g, b) => '#' + hex(r) + hex(g) + hex(b)

// one of 256 colours: a number of the terminal's sixteen, or #rrggbb
export function indexed(n) {
  if (n < 16) return n
  if (n >= 232) { const v = 8 + (n - 232) * 10; return rgb(v, v, v) }
  n -= 16
  const level = x => (x ? 55 + x * 40 : 0)
  return rgb(level(Math.floor(n / 36)), level(Math.floor(n / 6) % 6), level(n % 6))
}

// colour reads what follows 38, 48 or 58: the colour, and how many numbers that took.
function colour(args) {
  if (args[0] === 5) return [args[1] <= 255 ? indexed(args[1] || 0) : '', 2]
  if (args[0] === 2) return [rgb(...[1, 2, 3].map(k => Math.min(255, args[k] || 0))), 4]
  return ['', 0]
}

// what a number turns on or off
const switches = {
  1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true }, 7: { inverse: true }, 8: { hide: true }, 9: { strike: true },
  21: { underline: true }, 22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false }, 27: { inverse: false }, 28: { hide: false }, 29: { strike: false },
  39: { fg: '' }, 49: { bg: '' },
}
const grounded = { 38: 'fg', 48: 'bg', 58: '' } // 58 is the underline's own colour, which is not shown

function sgr(style, text) {
  const words = text.split(';')
  let s = { ...style }
  for (let i = 0; i < words.length; i++) {
    const [n, ...sub] = words[i].split(':').map(Number) // 38:2::1:2:3 is one word, 38;2;1;2;3 five
    if (n === 0) s = { ...plain }
    else if (n === 4 && sub.length) s.underline = sub[0] !== 0
    else if (n in switches) Object.assign(s, switches[n])
    else if (n >= 30 && n <= 37) s.fg = n - 30
    else if (n >= 40 && n <= 47) s.bg = n - 40
    else if (n >= 90 && n <= 97) s.fg = n - 82
    else if (n >= 100 && n <= 107) s.bg = n - 92
    else if (n in grounded) {
      if (sub[0] === 2 && sub.length > 4) sub.splice(1, 1) // the colour space
      const [c, used] = colour(sub.length ? sub : words.slice(i + 1, i + 5).map(Number))
      if (grounded[n]) s[grounded[n]] = c
      if (!sub.length) i += used
    }
  }
  return s
}

const token = /\x1b\[([0-?]*)[ -/]*([@-~]|$)|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[PX^_][^\x1b]*(?:\x1b\\|$)|\x1b[ -/]*[0-~]|\x1b|[\x00-\x08\x0b-\x1f\x7f]/g

// parse gives { pieces: [{ text, style }], text, rewritten }.
export function parse(input) {
  if (!/[\x00-\x08\x0b-\x1f\x7f]/.test(input)) return { pieces: input ? [{ text: input, style: null }] : [], text: input, rewritten: 0 }
  if (/^[^\r]*\r$/.test(input)) input = input.slice(0, -1) // what Windows ends lines with
  let style = null, rewritten = 0, last = 0
  const row = new Row()
  const put = text => { for (const ch of text) row.put(ch, style) }
  token.lastIndex = 0
  for (let m; (m = token.exec(input)); last = token.lastIndex) {
    put(input.slice(last, m.index))
    const c = m[0]
    if (c === '\r') { row.at = 0; rewritten++ } else if (c === '\b') row.at = Math.max(0, row.at - 1)
    else if (m[2]) {
      const n = parseInt(m[1], 10) || 0
      switch (m[2]) {
        case 'm': if (!/[<-?]/.test(m[1])) style = sgr(style || plain, m[1]); break // others set keys
        case 'K': row.erase(n); break
        case 'J': if (n === 2) row.erase(2); break
        case 'G': row.at = Math.min(4096, Math.max(0, (n || 1) - 1)); break
        case 'C': row.at = Math.min(4096, row.at + (n || 1)); break
        case 'D': row.at = Math.max(0, row.at - (n || 1)); break
      }
    }
  }
  put(input.slice(last))
  const pieces = []
  for (const [ch, s] of row.cells) {
    const end = pieces[pieces.length - 1]
    if (end && end.style === s) end.text += ch
    else pieces.push({ text: ch, style: s })
  }
  return { pieces, text: pieces.map(p => p.text).join(''), rewritten }
}

// Lightness is moved until a colour reads on the ground: 4.5:1.
const channel = v => ((v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b)
const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
const split = c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16))
const grounds = { light: luminance(split('#fcfcfd')), dark: luminance(split('#0c1014')) }
const known = new Map()

export function readable(c) {
  if (known.has(c)) return known.get(c)
  const one = (ground, to) => {
    const from = split(c)
    for (let k = 0; k <= 20; k++) {
      const v = from.map(x => Math.round(x + (to - x) * k / 20))
      if (contrast(luminance(v), ground) >= 4.5) return rgb(...v)
    }
    return to ? '#ffffff' : '#000000'
  }
  const text = `light-dark(${one(grounds.light, 0)}, ${one(grounds.dark, 255)})`
  if (known.size > 4096) known.clear()
  known.set(c, text)
  return text
}
// what reads on a ground of any colour
const over = c => {
  const l = luminance(split(c))
  return contrast(l, luminance([25, 31, 37])) >= 4.5 ? '#191f25' : contrast(l, 1) >= 4.5 ? '#ffffff' : '#000000'
}

// dress gives an element its colours by the style object: the policy blocks attributes.
export function dress(el, s) {
  let { fg, bg } = s
  if (s.inverse) [fg, bg] = [bg === '' ? 'well' : bg, fg === '' ? 'ink' : fg]
  const css = el.style
  if (typeof bg === 'number') {
    css.backgroundColor = `var(--a${bg})`
    css.color = 'var(--well)'
  } else if (bg === 'ink') { css.backgroundColor = 'var(--ink)'; css.color = 'var(--well)' } else if (bg && bg !== 'well') {
    css.backgroundColor = bg
    css.color = over(bg)
  } else if (typeof fg === 'number') css.color = `var(--a${fg})`
  else if (fg === 'well') css.color = 'var(--well)'
  else if (fg) css.color = readable(fg)
  if (s.bold) css.fontWeight = '700'
  if (s.dim && !css.color) css.color = 'var(--ink-3)'
  if (s.italic) css.fontStyle = 'italic'
  if (s.hide) css.visibility = 'hidden'
  if (s.underline || s.strike) css.textDecoration = (s.underline ? 'underline ' : '') + (s.strike ? 'line-through' : '')
}
