// Signing in: by a link from the gateway's terminal, or with a pasted token.
import { html } from 'htm/preact'
import { useSignal } from '@preact/signals'
import { get, me, post, signedOut } from './api.js'
import { here } from './router.js'
import { signed } from './live.js'
import { Icon, useTitle } from './ui.js'

export async function signOut() {
  try { await post('/signout') } catch { /* then the cookie was no good either */ }
  me.value = null
  signedOut.value = 'you signed out'
  signed({ out: signedOut.value })
}

export function SignIn() {
  const token = useSignal(''), problem = useSignal(''), busy = useSignal(false)
  useTitle('Sign in')
  const used = here.value.query.signin
  const submit = async e => {
    e.preventDefault()
    if (!token.value.trim()) { problem.value = 'paste a token first'; return }
    busy.value = true
    try {
      await post('/signin', { token: token.value.trim() })
      me.value = await get('/api/v1/me')
      signedOut.value = ''
      signed({})
    } catch (err) { problem.value = err.message }
    busy.value = false
  }
  const why = signedOut.value === 'no token found' ? '' : signedOut.value
  return html`<main id="main" tabindex="-1"><div class="center"><form class="card" aria-label="Sign in" onSubmit=${submit}>
    <h1 class="z5"><${Icon} name="key" /> Sign in to Runnel</h1>
    ${used && html`<div class="notice bad" role="alert"><${Icon} name="warn" /><span><b>This link does not work any more.</b> Each works once, for ten minutes. <code>runnel gateway link</code> prints a new one.</span></div>`}
    ${why && !used && html`<div class="notice"><${Icon} name="warn" /><span><b>${why}.</b> You will be back where you were.</span></div>`}
    <p class="say">The terminal of <code>runnel gateway</code> or <code>runnel serve --http</code> printed a link. Open that, and you are in.</p>
    <div><label class="lab" for="tok">Or paste a token</label><span class="fld w100"><input id="tok" type="password" class="mono" autocomplete="off" placeholder="eyJ…"
      value=${token.value} aria-describedby="tokhelp tokproblem" onInput=${e => { token.value = e.target.value; problem.value = '' }} /></span>
      <p class="hintline" id="tokhelp">From <code>runnel gateway token</code>. It stays in this browser as a cookie that no script can read.</p>
      <p class="hintline no1" id="tokproblem" role="alert">${problem.value}</p></div>
    <div class="chips"><button class="btn main" disabled=${busy.value}>Sign in</button></div></form></div></main>`
}
