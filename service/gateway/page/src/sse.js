// Server-sent events by fetch: with Last-Event-ID from the start, and an end that is told (204).

// readEvents calls each({ kind, id, data }) until the stream ends, and place(id) for an id without
// an event. beat is called whenever something comes, were it a comment; after quiet ms of nothing
// the stream is given up.
export async function readEvents(res, each, { beat, place, quiet = 40000 } = {}) {
  const reader = res.body.getReader()
  const decoder = new TextDecoder()
  let text = '', kind = '', id = '', data = '', late = false
  let timer
  const wind = () => {
    clearTimeout(timer)
    timer = setTimeout(() => { late = true; reader.cancel().catch(() => {}) }, quiet)
  }
  try {
    for (;;) {
      wind()
      const chunk = await reader.read()
      if (late) throw new Error('nothing came for ' + quiet / 1000 + ' s')
      beat?.()
      if (chunk.done) return
      text += decoder.decode(chunk.value, { stream: true })
      let at = 0
      for (let nl; (nl = text.indexOf('\n', at)) >= 0; at = nl + 1) {
        const line = text.slice(at, text[nl - 1] === '\r' ? nl - 1 : nl)
        if (line === '') {
          if (data !== '' || kind !== '') each({ kind: kind || 'message', id, data })
          else if (id !== '') place?.(id)
          kind = data = ''
        } else if (line.startsWith('data: ')) data += (data && '\n') + line.slice(6)
        else if (line.startsWith('id: ')) id = line.slice(4)
        else if (line.startsWith('event: ')) kind = line.slice(7)
      }
      text = text.slice(at)
    }
  } finally { clearTimeout(timer) }
}
