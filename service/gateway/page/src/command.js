// What is asked for, as a request, as a command line and as a message: pure functions of a form.

// a word as a shell takes it
export const quote = s => (/^[\w@%+=:,./-]+$/.test(s) ? s : "'" + s.replace(/'/g, `'\\''`) + "'")

// words of a line as a shell would split it, quotes and all; null where a quote is open
export function words(line) {
  const out = []
  let cur = null, q = ''
  for (let i = 0; i < line.length; i++) {
    const c = line[i]
    if (q) { if (c === q) q = ''; else if (c === '\\' && q === '"' && /["\\$`]/.test(line[i + 1] || '')) cur += line[++i]; else cur += c } else if (c === "'" || c === '"') { q = c; cur ??= '' } else if (c === '\\') cur = (cur ?? '') + (line[++i] ?? '')
    else if (/\s/.test(c)) { if (cur !== null) { out.push(cur); cur = null } } else cur = (cur ?? '') + c
  }
  if (q) return null
  if (cur !== null) out.push(cur)
  return out
}

export const fresh = { kind: 'command', command: '', argv: '', script: '#!/bin/bash\n', to: 'any', on: '', pool: '', where: '', all: false, name: '', user: '', dir: '', timeout: '', isolation: '', memory: '', params: '', tags: '' }

export const pairs = text => text.split('\n').map(l => l.trim()).filter(Boolean).map(l => { const i = l.indexOf('='); return i < 0 ? [l, ''] : [l.slice(0, i), l.slice(i + 1)] })

// body is the request; flags the same for the command line.
export function bodyOf(f) {
  const b = {}
  if (f.kind === 'command') b.command = f.command
  else if (f.kind === 'argv') b.argv = words(f.argv) || []
  else b.script = f.script
  for (const k of ['name', 'user', 'dir', 'timeout', 'isolation']) if (f[k]) b[k] = f[k]
  if (f.memory) b.limits = { memoryMax: f.memory }
  if (f.params.trim()) b.params = pairs(f.params).map(([name, value]) => ({ name, value }))
  if (f.tags.trim()) b.tags = Object.fromEntries(pairs(f.tags))
  const target = {}
  if (f.to === 'on') target.on = f.on
  if (f.to === 'pool') target.pool = f.pool
  if (f.to === 'where') target.where = f.where
  if (f.all && f.to !== 'on') target.all = true
  if (Object.keys(target).length) b.target = target
  return b
}

export function commandOf(f) {
  const b = bodyOf(f), flags = []
  const add = (flag, v) => { if (v) flags.push(flag, quote(v)) }
  const t = b.target || {}
  add('--on', t.on); add('--pool', t.pool); add('--where', t.where)
  if (t.all) flags.push('--all')
  add('--name', b.name); add('--user', b.user); add('--dir', b.dir); add('--timeout', b.timeout); add('--isolation', b.isolation)
  add('--memory', b.limits?.memoryMax)
  for (const p of b.params || []) add('--param', `${p.name}=${p.value}`)
  for (const [k, v] of Object.entries(b.tags || {})) add('--tag', `${k}=${v}`)
  if (f.kind === 'script') return ['runnel run', ...flags, '--script script.sh'].join(' ')
  const what = f.kind === 'argv' ? (b.argv.length ? b.argv.map(quote).join(' ') : '…') : 'bash -c ' + quote(f.command || '…')
  return ['runnel run', ...flags, '--', what].join(' ')
}

export function natsOf(f) {
  const b = bodyOf(f), t = b.target || {}
  const verb = t.on ? `at.${t.on}` : t.pool ? `${t.all ? 'all' : 'pool'}.${t.pool}` : t.all ? 'all' : 'any'
  const task = { ...(b.argv ? { argv: b.argv } : b.script !== undefined ? { file: { content: btoa(String.fromCharCode(...new TextEncoder().encode(b.script))) } } : { commands: [b.command] }) }
  for (const k of ['name', 'user', 'dir', 'timeout', 'isolation', 'limits', 'params', 'tags']) if (b[k]) task[k] = b[k]
  const header = t.where ? `-H ${quote('Runner-Where:' + t.where)} ` : ''
  return `nats req --no-templates ${header}runner.task.${verb} ${quote(JSON.stringify({ kind: 'runner', spec: { task } }))}`
}
