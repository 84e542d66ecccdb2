// What must hold for every view at every width.
import axe from 'axe-core'
import { shot, widths } from './world.js'

// layout lists what overflows the page and what lies on something else.
const layout = () => {
  const found = []
  const root = document.documentElement
  if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} px wide and shows ${root.clientWidth}`)
  const seen = el => {
    const s = getComputedStyle(el)
    const r = el.getBoundingClientRect()
    return s.visibility !== 'hidden' && s.display !== 'none' && r.width > 1 && r.height > 1 && !el.closest('.vh, .skip, dialog:not([open]), details:not([open]) > :not(summary)')
  }
  const name = el => `${el.tagName.toLowerCase()}.${el.className.baseVal ?? el.className} "${(el.textContent || el.getAttribute('aria-label') || '').trim().slice(0, 40)}"`
  // the part of an element that its scrolling ancestors show
  const shown = el => {
    let r = el.getBoundingClientRect()
    let box = { l: r.left, t: r.top, r: r.right, b: r.bottom }
    for (let p = el.parentElement; p; p = p.parentElement) {
      const s = getComputedStyle(p)
      if (s.overflowX === 'visible' && s.overflowY === 'visible') continue
      const q = p.getBoundingClientRect()
      box = { l: Math.max(box.l, q.left), t: Math.max(box.t, q.top), r: Math.min(box.r, q.right), b: Math.min(box.b, q.bottom) }
    }
    return box
  }
  const things = [...document.querySelectorAll('button, a[href], input, select, textarea, summary, h1, h2, th, td > *, .st, .chip, .sum > span, .foot > span')].filter(seen)
  const boxes = things.map(el => ({ el, box: shown(el) })).filter(({ box }) => box.r - box.l > 1 && box.b - box.t > 1)
  for (const { el, box } of boxes) {
    if (box.r > innerWidth + 1 || box.l < -1) found.push(`outside: ${name(el)} from ${Math.round(box.l)} to ${Math.round(box.r)}`)
  }
  // what a row is named by is not squeezed by what is told about it
  for (const el of document.querySelectorAll('tbody th')) {
    const r = el.getBoundingClientRect()
    if (seen(el) && r.width < 88 && el.scrollWidth > el.clientWidth + 1) found.push(`squeezed to ${Math.round(r.width)} px: ${name(el)}`)
  }
  const floats = '.top, .foot, .pill, .bar, thead, .drop, .side, .g, dialog'
  for (let i = 0; i < boxes.length && boxes.length < 1500; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]]
      if (a.el.contains(b.el) || b.el.contains(a.el)) continue
      const w = Math.min(a.box.r, b.box.r) - Math.max(a.box.l, b.box.l), h = Math.min(a.box.b, b.box.b) - Math.max(a.box.t, b.box.t)
      if (w <= 2 || h <= 2) continue
      if (a.el.closest(floats) !== b.el.closest(floats)) continue // what stays while the rest scrolls below it
      found.push(`overlap of ${Math.round(w)} × ${Math.round(h)}: ${name(a.el)} and ${name(b.el)}`)
    }
  }
  return found.slice(0, 12)
}

export async function axeOf(page, within) {
  // Evaluated by the debugger, so that the policy of the page stays as it is.
  await page.evaluate(axe.source + ';0')
  const result = await page.evaluate(what => window.axe.run(what ? document.querySelector(what) : document, { resultTypes: ['violations'] }), within)
  return result.violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 140) + ' ' + (n.any[0]?.message || '').slice(0, 140)).join(' | ')}`)
}

// everywhere looks at a view in all widths and both schemes. axe: false for none, or a selector of
// what it looks at.
export async function everywhere(page, name, { axe: withAxe = true, settle } = {}) {
  const problems = []
  for (const width of widths) {
    for (const scheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height: width === 360 ? 760 : width === 2560 ? 1300 : 800 })
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
      await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))
      await settle?.(page)
      for (const p of await page.evaluate(layout)) problems.push(`${name} at ${width}, ${scheme}: ${p}`)
      // Contrast differs by scheme, what is there by width: each is looked at once.
      if (withAxe && (width === 1024 || scheme === 'light') && !(width === 2560)) for (const p of await axeOf(page, withAxe === true ? undefined : withAxe)) problems.push(`${name} at ${width}, ${scheme}: axe ${p}`)
      await shot(page, `${name}-${width}-${scheme}`)
    }
  }
  if (problems.length) throw new Error(problems.join('\n'))
}
