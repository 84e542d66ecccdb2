// CodeMirror, loaded when an editor is seen. Its styles carry the nonce of the page.
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view'
import { Compartment, EditorState } from '@codemirror/state'
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { HighlightStyle, StreamLanguage, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language'
import { tags as t } from '@lezer/highlight'
import { c, clike, cpp, java } from '@codemirror/legacy-modes/mode/clike'
import { go } from '@codemirror/legacy-modes/mode/go'
import { javascript, typescript } from '@codemirror/legacy-modes/mode/javascript'
import { python } from '@codemirror/legacy-modes/mode/python'
import { rust } from '@codemirror/legacy-modes/mode/rust'
import { shell } from '@codemirror/legacy-modes/mode/shell'
import { ruby } from '@codemirror/legacy-modes/mode/ruby'
import { lua } from '@codemirror/legacy-modes/mode/lua'
import { perl } from '@codemirror/legacy-modes/mode/perl'

// PHP has no mode of its own among these: C's, with its words and variables.
const phpWords = text => Object.fromEntries(text.split(' ').map(w => [w, true]))
const php = clike({
  name: 'php', multiLineStrings: true,
  keywords: phpWords('abstract and array as break case catch class clone const continue declare default do echo else elseif empty enddeclare endfor endforeach endif endswitch endwhile enum exit extends final finally fn for foreach function global goto if implements include include_once instanceof insteadof interface isset list match namespace new or print private protected public readonly require require_once return static switch throw trait try unset use var while xor yield'),
  blockKeywords: phpWords('catch do else elseif for foreach if switch try while finally'), atoms: phpWords('true false null TRUE FALSE NULL __CLASS__ __DIR__ __FILE__ __LINE__'),
  hooks: {
    $(stream) { stream.eatWhile(/[\w$]/); return 'variable-2' },
    '#'(stream) { if (stream.eat('[')) return 'meta'; stream.skipToEnd(); return 'comment' },
    '<'(stream) { if (stream.match('?php') || stream.match('?=')) return 'meta'; return false },
    '?'(stream) { if (stream.eat('>')) return 'meta'; return false },
  },
})

const modes = [
  [/^(c\+\+|cpp|g\+\+)$/, cpp], [/^(c|gcc)$/, c], [/^go$/, go], [/^java$/, java], [/^(node|nodejs|javascript|js)$/, javascript], [/^(typescript|ts|deno)$/, typescript],
  [/^(python|python3|py)$/, python], [/^rust$/, rust], [/^(bash|sh|shell)$/, shell], [/^ruby$/, ruby], [/^lua/, lua], [/^perl$/, perl], [/^php/, php],
]
const modeOf = name => {
  const mode = modes.find(([re]) => re.test(name || ''))
  return mode ? StreamLanguage.define(mode[1]) : []
}

const colours = HighlightStyle.define([
  { tag: [t.keyword, t.controlKeyword, t.operatorKeyword, t.modifier, t.processingInstruction, t.meta], color: 'var(--a5)' },
  { tag: [t.string, t.special(t.string), t.regexp], color: 'var(--a2)' },
  { tag: t.comment, color: 'var(--ink-3)', fontStyle: 'italic' },
  { tag: [t.function(t.variableName), t.function(t.propertyName), t.definition(t.variableName), t.className, t.typeName], color: 'var(--a4)' },
  { tag: [t.number, t.bool, t.null, t.atom], color: 'var(--a6)' },
])
const theme = EditorView.theme({
  '&': { backgroundColor: 'var(--well)', color: 'var(--ink)', fontSize: 'var(--t2)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: 'var(--line)', minHeight: '240px', maxHeight: '60vh' },
  '.cm-gutters': { backgroundColor: 'var(--well)', color: 'var(--ink-3)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'transparent' },
  '.cm-cursor': { borderLeftColor: 'var(--ink)' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground, .cm-content ::selection': { backgroundColor: 'var(--accent-bg) !important' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--hover)', outline: '1px solid var(--edge)' },
})

export async function open(parent, { value, language, label, onChange }) {
  const mode = new Compartment()
  const view = new EditorView({
    parent,
    state: EditorState.create({ doc: value, extensions: [
      lineNumbers(), history(), drawSelection(), indentOnInput(), bracketMatching(), highlightActiveLine(), indentUnit.of('    '), EditorState.tabSize.of(4),
      keymap.of([{ key: 'Escape', run: v => { v.contentDOM.blur(); return true } }, ...defaultKeymap, ...historyKeymap, indentWithTab]),
      syntaxHighlighting(colours), theme, mode.of(modeOf(language)),
      EditorView.cspNonce.of(document.documentElement.dataset.nonce),
      EditorView.contentAttributes.of({ 'aria-label': label, tabindex: '0' }),
      EditorView.updateListener.of(u => { if (u.docChanged) onChange(u.state.doc.toString()) }),
    ] }),
  })
  return {
    language(name) { view.dispatch({ effects: mode.reconfigure(modeOf(name)) }) },
    destroy() { view.destroy() },
  }
}
