// Server-sent events by fetch: with Last-Event-ID from the start, and an end that is told (204).

// readEvents calls each(event) for { kind, id, data } until the stream ends. idle is called when
// nothing, not even a comment, has come for so long.
export async function readEvents(res, each, { beat, quiet = 40000 } = {}) {
  const reader = res.body.getReader()
  const decoder = new TextDecoder()
  let text = '', kind = '', id = '', data = ''
  for (;;) {
    let timer
    const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error('nothing came for ' + quiet / 1000 + ' s')), quiet) })
    let chunk
    try {
      chunk = await Promise.race([reader.read(), late])
    } catch (err) {
      reader.cancel().catch(() => {})
      throw err
    } finally { clearTimeout(timer) }
    beat?.()
    if (chunk.done) return
    text += decoder.decode(chunk.value, { stream: true })
    let at = 0
    for (let nl; (nl = text.indexOf('\n', at)) >= 0; at = nl + 1) {
      const line = text.slice(at, text[nl - 1] === '\r' ? nl - 1 : nl)
      if (line === '') {
        if (data !== '' || kind !== '') each({ kind: kind || 'message', id, data })
        kind = data = ''
      } else if (line.startsWith('data: ')) data += (data && '\n') + line.slice(6)
      else if (line.startsWith('id: ')) id = line.slice(4)
      else if (line.startsWith('event: ')) kind = line.slice(7)
    }
    text = text.slice(at)
  }
}
