// An editor: plain at once, CodeMirror when it has come.
import { html } from 'htm/preact'
import { useEffect, useRef } from 'preact/hooks'
import { useSignal } from '@preact/signals'

export function Editor({ value, onChange, language, label, lines = 12 }) {
  const box = useRef(), view = useRef(), ready = useSignal(false), change = useRef()
  change.current = onChange
  useEffect(() => {
    let gone = false
    import('./codemirror.js').then(async m => {
      if (gone) return
      view.current = await m.open(box.current, { value, language, label, onChange: t => change.current(t) })
      if (gone) view.current.destroy(); else ready.value = true
    }).catch(() => { /* the plain field does it too */ })
    return () => { gone = true; view.current?.destroy(); view.current = null }
  }, [])
  useEffect(() => { view.current?.language(language) }, [language])
  return html`<div class="ed" ref=${box}>${!ready.value && html`<textarea aria-label=${label} rows=${lines} spellcheck="false" value=${value} onInput=${e => onChange(e.target.value)}></textarea>`}</div>`
}
