// Addresses: /runs/ID and so on. What the API has is never a view's.
import { signal } from '@preact/signals'

const read = () => ({ path: decodeURI(location.pathname), query: Object.fromEntries(new URLSearchParams(location.search)) })
export const here = signal(read())
export const hash = signal(location.hash)

export function go(to, { replace } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', to)
  here.value = read()
  hash.value = location.hash
  if (!replace) scrollTo(0, 0)
}

// setQuery changes what is asked for without a new step in the history.
export function setQuery(change) {
  const q = { ...here.value.query, ...change }
  const text = new URLSearchParams(Object.entries(q).filter(([, v]) => v !== undefined && v !== '')).toString()
  go(location.pathname + (text ? '?' + text : ''), { replace: true })
}

addEventListener('popstate', () => { here.value = read(); hash.value = location.hash })
addEventListener('hashchange', () => { hash.value = location.hash })
document.addEventListener('click', e => {
  const a = e.target.closest?.('a[href]')
  if (!a || e.defaultPrevented || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || a.target || a.hasAttribute('download')) return
  const url = new URL(a.href instanceof SVGAnimatedString ? a.href.baseVal : a.href, location.href)
  if (url.origin !== location.origin || (url.pathname === location.pathname && url.hash)) return
  if (a.dataset.outside !== undefined) return
  e.preventDefault()
  go(url.pathname + url.search + url.hash)
})
