// The frame: views by address, the head, the foot, keys.
import { html } from 'htm/preact'
import { render } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { useComputed } from '@preact/signals'
import { get, may, me, now, serverTime, signedOut } from './api.js'
import { go, hash, here } from './router.js'
import { link } from './link.js'
import { hurry, onSignedIn, signed } from './live.js'
import { Icon, kept, news } from './ui.js'
import { clockSeconds, duration, second } from './time.js'
import { SignIn, signOut } from './signin.js'
import { views } from './views.js'

const schemes = ['system', 'light', 'dark']
export const scheme = kept('scheme', 'system')
scheme.subscribe(s => {
  if (s === 'system') delete document.documentElement.dataset.scheme
  else document.documentElement.dataset.scheme = s
})
const letters = kept('keys', true)

const find = path => {
  for (const v of views) {
    const m = v.path.exec(path)
    if (m) return { ...v, args: m.groups || {} }
  }
  return null
}

// Views that this caller may see, in the order of the head.
const shown = () => views.filter(v => v.name && (!v.scope || may(v.scope)))

function Top({ view }) {
  const at = view?.of
  return html`<header class="top">
    <a class="brand" href="/"><svg viewBox="0 0 22 16" aria-hidden="true"><path d="M2 5c4.5 0 4.5 3 9 3s4.5-3 9-3M2 11c4.5 0 4.5 3 9 3s4.5-3 9-3" /></svg>Runnel</a>
    <nav aria-label="Views">${shown().map(v => html`<a href=${v.href} aria-current=${at === v.of ? 'page' : null}>${v.name}</a>`)}</nav>
    ${views.some(v => v.of === 'new') && may('run') && html`<a class="btn" href="/new" data-key="n" title="n"><${Icon} name="plus" />Run</a>`}
    <button type="button" class="btn bare" aria-label=${`Colours: ${scheme.value}. Change`} title=${`Colours: ${scheme.value}`}
      onClick=${() => { scheme.value = schemes[(schemes.indexOf(scheme.value) + 1) % 3] }}><${Icon} name="scheme" /></button>
    <button type="button" class="btn bare w1" title="?" data-key="?" onClick=${() => document.getElementById('keys').showModal()}>Keys</button>
    <button type="button" class="btn bare who" title="Sign out" aria-label=${`Sign out ${me.value?.sub || ''}`} onClick=${signOut}><bdi class="w1">${me.value?.sub || 'Sign out'}</bdi><span class="narrowonly0"><${Icon} name="key" /></span></button>
  </header>`
}

function Foot() {
  const l = link.value
  const left = useComputed(() => { second.value; return Math.max(0, Math.ceil((link.value.next - Date.now()) / 1000)) + 's' })
  const time = useComputed(() => { second.value; return clockSeconds(now()) + ' UTC' })
  const cut = l.state === 'cut'
  if (signedOut.value) {
    return html`<footer class="foot cut"><span class="now" role="status"><${Icon} name="key" /><b>Signed out:</b> ${signedOut.value}</span></footer>`
  }
  return html`<footer class=${cut || l.state === 'back' ? 'foot cut' : 'foot'}>
    <span class="now" role="status">${
      cut ? html`<${Icon} name="warn" /><b>Cut off since ${clockSeconds(serverTime(l.since))}.</b> <span class="opt">What you see is from then.</span> <span class="opt">Trying again in ${left}</span>`
        : l.state === 'back' ? html`<${Icon} name="complete" /><b>Back after ${duration(l.gone)}.</b> <span class="opt">It goes on where it was.</span>`
          : news.value ? html`<${Icon} name="tick" cls="c-ok" /><span>${news.value}</span>`
            : l.state === 'live' ? html`<${Icon} name="online" cls="c-ok" /><span>Live</span>`
              : html`<${Icon} name="offline" cls="c-off" /><span>Connected</span>`}
    <span class="dim opt">${location.host}</span></span>
    ${cut && html`<button type="button" class="btn" onClick=${hurry}>Try now</button>`}
    <span class="grow"></span><span class="opt" aria-hidden="true">${time}</span><span class="opt dim">${me.value?.version ? 'Runnel ' + me.value.version : ''}</span>
  </footer>`
}

const keyRows = [[['/'], 'find, in every view'], [['n'], 'run something'], [['j', 'k', 'Enter'], 'next row, row before, open it'], [['x'], 'choose a row'],
  [['f'], 'follow, or let go'], [['g', 'G'], 'first line, last line'], [['w'], 'wrap long lines'],
  [['Enter', 'Shift Enter'], 'in find: next, one before'], [['Esc'], 'leave a field, close what is open']]
const Keys = () => html`<dialog class="keys" id="keys" aria-label="Keys"><h2>Keys</h2><table><tbody>
  ${keyRows.map(([keys, what]) => html`<tr><td>${keys.map(k => html`<kbd>${k}</kbd> `)}</td><td>${what}</td></tr>`)}</tbody></table>
  <form method="dialog" class="chips"><label class="chips"><input type="checkbox" checked=${letters.value} onChange=${e => { letters.value = e.target.checked }} /> single letters act</label>
  <span class="grow"></span><button class="btn">Close</button></form></dialog>`

function Nothing() {
  return html`<section class="empty"><${Icon} name="find" /><h1>There is no view at this address</h1><p>${here.value.path}</p><a class="btn" href="/">To the first view</a></section>`
}

function App() {
  const path = here.value.path
  const first = path === '/' ? shown()[0] : null
  useEffect(() => { if (first) go(first.href, { replace: true }) }, [first?.href])
  const view = find(path)
  const main = useRef()
  useEffect(() => { document.body.className = view?.body || '' }, [view?.body])
  if (signedOut.value) return html`<${SignIn} /><${Foot} />`
  if (!me.value) return null
  const missing = view?.scope && !may(view.scope)
  return html`<a class="skip" href="#main" data-outside onClick=${e => { e.preventDefault(); main.current.focus() }}>To the content</a>
    <${Top} view=${view} />
    <main id="main" tabindex="-1" ref=${main} key=${path}>${
      first ? null : missing ? html`<section class="empty"><${Icon} name="key" /><h1>Your token does not allow this</h1>
          <p>It needs the scope ${view.scope}. Who runs the gateway can give you one.</p><pre class="code" tabindex="0">runnel gateway token --scope ${view.scope}</pre></section>`
        : view ? html`<${view.view} ...${view.args} />` : html`<${Nothing} />`}</main>
    <${Foot} /><${Keys} />`
}

// Keys: each is the key of a control that is on the page; typing in a field is typing.
document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return
  const field = e.target.closest?.('input, select, textarea, [contenteditable], dialog')
  if (field) { if (e.key === 'Escape' && !field.closest('.cm-editor') && field.tagName !== 'DIALOG') e.target.blur(); return }
  if (e.key.length === 1 && !letters.value && e.key !== '?') return
  if (e.key === 'j' || e.key === 'k') return step(e, e.key === 'j' ? 1 : -1)
  if (e.key === 'x') { e.target.closest?.('tr')?.querySelector('input[type=checkbox]')?.click(); return }
  const b = e.key === '/' ? document.querySelector('[data-find]') : document.querySelector(`[data-key="${CSS.escape(e.key)}"]`)
  if (!b || b.disabled) return
  e.preventDefault()
  if (b.matches('[data-find]')) { b.focus(); b.select() } else b.click()
})

function step(e, by) {
  const rows = [...document.querySelectorAll('main tbody tr a[href]')].filter((a, i, all) => a.closest('tr') !== all[i - 1]?.closest('tr'))
  if (!rows.length) return
  e.preventDefault()
  const at = rows.findIndex(a => a.closest('tr') === document.activeElement?.closest?.('tr'))
  rows[Math.min(rows.length - 1, Math.max(0, at + by))].focus()
}

async function begin(hello) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    try {
      me.value = await get('/api/v1/me')
      signedOut.value = ''
      if (hello) signed({ hello })
      if (link.value.state === 'cut' && link.value.own) link.value = { state: 'connecting' }
      return
    } catch (err) {
      if (err.status === 401) return
      if (err.status) { me.value = { sub: '', scopes: ['read', 'jobs', 'code', 'run'] }; return }
      link.value = { state: 'cut', since: link.value.since || Date.now(), next: Date.now() + wait, own: true }
      await new Promise(done => setTimeout(done, wait))
    }
  }
}
export { begin, hash }
onSignedIn(() => begin(false))

render(html`<${App} />`, document.getElementById('app'))
begin(true)
