// A program in an address: its JSON, deflated, in base64 that addresses take. It is behind #, so no
// server sees it.

const mark = '#p='
const most = 200e3 // bytes of a program that a link is made of, and that one is read to

async function through(bytes, stream, limit) {
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader()
  const parts = []
  let n = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    n += value.length
    if (n > limit) { reader.cancel().catch(() => {}); throw new Error('the program is too long for a link') }
    parts.push(value)
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

export async function linkOf(program) {
  const text = new TextEncoder().encode(JSON.stringify(program))
  if (text.length > most) throw new Error('the program is too long for a link')
  const packed = await through(text, new CompressionStream('deflate-raw'), most)
  let s = ''
  for (const b of packed) s += String.fromCharCode(b)
  return mark + btoa(s).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
}

// programOf reads one; null where an address holds none.
export async function programOf(hash) {
  if (!hash.startsWith(mark)) return null
  let s
  try { s = atob(hash.slice(mark.length).replace(/-/g, '+').replace(/_/g, '/')) } catch { throw new Error('the link is cut short') }
  let p
  try { p = JSON.parse(new TextDecoder().decode(await through(Uint8Array.from(s, c => c.charCodeAt(0)), new DecompressionStream('deflate-raw'), most))) } catch { throw new Error('the link is cut short') }
  return tidy(p)
}

const text = (v, n) => (typeof v === 'string' ? v.slice(0, n) : '')

// tidy makes a program of whatever somebody put in a link.
export function tidy(p) {
  const files = (Array.isArray(p?.files) ? p.files : []).slice(0, 20).filter(f => f && typeof f.text === 'string').map(f => ({ name: text(f.name, 100), text: f.text }))
  return { language: text(p?.language, 40), version: text(p?.version, 40), files, stdin: text(p?.stdin, most), args: text(p?.args, 2000), time: text(p?.time, 20), memory: text(p?.memory, 20) }
}
