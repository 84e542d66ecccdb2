import assert from 'node:assert/strict'
import { test } from 'node:test'
import { indexed, parse, readable } from '../src/ansi.js'

// What a terminal would show at the end, and how often the line was rewritten.
for (const [name, input, text, rewritten = 0] of [
  ['nothing', '', ''],
  ['plain text', 'as it is', 'as it is'],
  ['tabs stay', 'a\tb', 'a\tb'],
  ['colour', '\x1b[31mred\x1b[0m', 'red'],
  ['carriage return writes over', 'abc\rX', 'Xbc', 1],
  ['a bar', '10 %\r20 %\r100 %', '100 %', 2],
  ['the end of lines of Windows is none', 'a line\r', 'a line'],
  ['a shorter line leaves the rest', 'hello\rJ', 'Jello', 1],
  ['erase to the end', 'hello\r\x1b[KJ', 'J', 1],
  ['erase from the start', 'hello\x1b[3D\x1b[1Kx', '  xlo'],
  ['erase the line', 'hello\x1b[2Kx', '     x'],
  ['clear the screen', 'hello\x1b[2Jx', '     x'],
  ['backspace', 'ab\bc', 'ac'],
  ['more backspaces than text', 'a\b\b\bx', 'x'],
  ['to a column', '\x1b[5Gx', '    x'],
  ['to a column far away is bounded', '\x1b[999999999Gx', ' '.repeat(4096) + 'x'],
  ['right and left', 'a\x1b[2Cb\x1b[3Dc', 'ac b'],
  ['a title by OSC, BEL', '\x1b]0;title\x07x', 'x'],
  ['a title by OSC, ST', '\x1b]0;title\x1b\\x', 'x'],
  ['a link by OSC', '\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\', 'link'],
  ['an OSC that never ends', '\x1b]0;abc', ''],
  ['DCS, APC, PM', '\x1bPq#0\x1b\\a\x1b_x\x1b\\b\x1b^y\x1b\\c', 'abc'],
  ['charsets and keypad', '\x1b(B\x1b=\x1b>x', 'x'],
  ['moves up and down are left out', 'a\x1b[2A\x1b[1Bb', 'ab'],
  ['an escape at the end', 'a\x1b', 'a'],
  ['a CSI that is cut', 'a\x1b[3', 'a'],
  ['modes of keys', '\x1b[>4;2ma\x1b[<ub', 'ab'],
  ['bells and other control characters', 'a\x07\x00\x01b\x7f', 'ab'],
  ['private modes', '\x1b[?25lx\x1b[?25h', 'x'],
  ['characters of two units', '😀\rx', 'x', 1],
  ['right to left stays in its order', '\x1b[1mمرحبا\x1b[0m', 'مرحبا'],
  ['zero width', 'a\u200bb', 'a\u200bb'],
]) {
  test(name, () => {
    const got = parse(input)
    assert.equal(got.text, text)
    assert.equal(got.rewritten, rewritten)
    assert.equal(got.pieces.map(p => p.text).join(''), text)
  })
}

const styleOf = input => parse(input + 'x').pieces.at(-1).style
for (const [code, want] of [
  ['31', { fg: 1 }], ['97', { fg: 15 }], ['44', { bg: 4 }], ['103', { bg: 11 }],
  ['38;5;9', { fg: 9 }], ['38;5;196', { fg: '#ff0000' }], ['38;5;232', { fg: '#080808' }], ['48;5;255', { bg: '#eeeeee' }],
  ['38;2;1;2;3', { fg: '#010203' }], ['38;2;300;2;3', { fg: '#ff0203' }], ['38:2::1:2:3', { fg: '#010203' }], ['38:2:1:2:3', { fg: '#010203' }], ['38:5:196', { fg: '#ff0000' }],
  ['38;5;300', { fg: '' }], ['38;9', { fg: '' }], ['38', { fg: '' }],
  ['1;3;4;9', { bold: true, italic: true, underline: true, strike: true }], ['4:3', { underline: true }], ['4:0', { underline: false }],
  ['1;22', { bold: false }], ['31;39', { fg: '' }], ['7;27', { inverse: false }], ['8', { hide: true }],
  ['', { bold: false, fg: '' }], ['31;0', { fg: '' }], ['58;5;1;32', { fg: 2 }], ['58:2::1:2:3;1', { bold: true }], ['12345', { fg: '' }],
]) {
  test(`style ${code || 'none'}`, () => {
    const style = styleOf(`\x1b[${code}m`)
    for (const [k, v] of Object.entries(want)) assert.equal(style[k], v, k)
  })
}

test('a style lasts over carriage returns and ends where it ends', () => {
  const { pieces } = parse('\x1b[31mred\x1b[1mbold\x1b[0mplain')
  assert.deepEqual(pieces.map(p => p.text), ['red', 'bold', 'plain'])
  assert.equal(pieces[1].style.fg, 1)
  assert.equal(pieces[1].style.bold, true)
})

test('256 colours are those of xterm', () => {
  assert.equal(indexed(15), 15)
  assert.equal(indexed(16), '#000000')
  assert.equal(indexed(21), '#0000ff')
  assert.equal(indexed(231), '#ffffff')
  assert.equal(indexed(244), '#808080')
})

test('a colour that does not read is moved until it does, in each scheme', () => {
  assert.match(readable('#ffff00'), /^light-dark\(#[0-9a-f]{6}, #ffff00\)$/)
  assert.match(readable('#000080'), /^light-dark\(#000080, #[0-9a-f]{6}\)$/)
  assert.equal(readable('#ffff00'), readable('#ffff00'))
})

test('any bytes give text without control characters', () => {
  let seed = 7
  const next = n => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % n }
  const parts = ['\x1b', '[', ']', '0', ';', 'm', 'K', 'J', '\r', '\b', '\x07', 'P', '\\', 'text', '38;5;1m', '\x1b[2K', '\x1b[31m', ':', '99', 'C', 'G', '😀', 'ß']
  for (let i = 0; i < 3000; i++) {
    const input = Array.from({ length: next(30) }, () => parts[next(parts.length)]).join('')
    const got = parse(input)
    assert.doesNotMatch(got.text, /[\x00-\x08\x0a-\x1f\x7f]/, JSON.stringify(input))
    assert.equal(got.pieces.map(p => p.text).join(''), got.text)
  }
})
