// A schedule's words: when, where and what, as people say it; and its request.
import { date, millis } from './time.js'
import { quote, words } from './command.js'

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

// ruleOf is a rule as people say it; what it can't say stays a pattern.
export function ruleOf(s) {
  const zone = s.tz && s.tz !== 'UTC' ? ' ' + s.tz : ''
  if (s.every) return 'every ' + s.every
  if (millis(s.at)) return 'once, ' + date(millis(s.at))
  const f = (s.cron || '').trim().split(/\s+/)
  if (f.length !== 5) return s.cron + zone
  const [min, hour, day, month, week] = f
  const n = t => /^\d+$/.test(t)
  const clock = n(min) && n(hour) ? hour.padStart(2, '0') + ':' + min.padStart(2, '0') : ''
  if (month !== '*') return s.cron + zone
  if (clock && day === '*' && week === '*') return clock + ' daily' + zone
  if (clock && day === '*' && /^[0-7](,[0-7])*$/.test(week)) return week.split(',').map(d => days[d]).join(', ') + ' ' + clock + zone
  if (clock && day === '*' && week === '1-5') return 'Mon to Fri ' + clock + zone
  if (clock && n(day) && week === '*') return `day ${day} of the month, ${clock}${zone}`
  if (day !== '*' || week !== '*' || hour !== '*') return s.cron + zone
  if (min === '*') return 'every minute'
  if (/^\*\/\d+$/.test(min)) return `every ${min.slice(2)} minutes`
  return n(min) ? `hourly at :${min.padStart(2, '0')}` : s.cron + zone
}

export const whereOf = s => (s.pipeline ? 'the engine' : [s.all ? 'all' : 'one', s.on?.length ? 'of ' + s.on.join(', ') : s.pool || !s.all ? 'of ' + (s.pool || 'default') : s.where ? '' : 'runners', s.where ? 'where ' + s.where : ''].filter(Boolean).join(' '))
export function whatOf(s) {
  const t = s.task || {}
  if (s.pipeline) return 'pipeline ' + s.pipeline
  return t.name || (t.argv?.length ? t.argv.map(quote).join(' ') : '') || t.commands?.join('; ') || (t.language ? 'a program in ' + t.language.name : t.file ? 'a script' : '')
}

// zoned is a time where a schedule's clock stands; UTC where there is no such zone.
export function zoned(t, zone) {
  if (!zone || zone === 'UTC') return date(t)
  try {
    const part = {}
    for (const { type, value } of new Intl.DateTimeFormat('en-GB', { timeZone: zone, day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).formatToParts(t)) part[type] = value
    return `${part.day} ${part.month.slice(0, 3)} ${part.hour}:${part.minute}`
  } catch { return date(t) }
}

export const freshSchedule = { name: '', when: 'cron', cron: '0 3 * * *', tz: 'UTC', every: '1h', at: '', kind: 'command', command: '', argv: '', all: false, pool: '', where: '', overlap: '', startDeadline: '', jitter: '', timeout: '', user: '' }

// formOf is a schedule as the form has it. A program that is neither shell text nor a command stays
// as it is.
export function formOf(s) {
  const t = s.task || {}
  return {
    ...freshSchedule, name: s.name, when: s.every ? 'every' : s.at ? 'at' : 'cron', cron: s.cron || freshSchedule.cron, tz: s.tz || 'UTC', every: s.every || freshSchedule.every, at: (s.at || '').slice(0, 16),
    kind: t.argv?.length ? 'argv' : t.commands?.length === 1 ? 'command' : 'kept', argv: (t.argv || []).map(quote).join(' '), command: t.commands?.join('\n') || '',
    all: !!s.all, pool: s.pool || '', where: s.where || '', overlap: s.overlap || '', startDeadline: s.startDeadline || '', jitter: s.jitter || '', timeout: t.timeout || '', user: t.user || '',
  }
}

// lean is what of a reply was ever given: one that says nothing is not asked for again.
const lean = o => Object.fromEntries(Object.entries(o || {}).filter(([, v]) => v && (typeof v !== 'object' || Object.keys(v).length > 0)))

// scheduleOf is the request: what the form has over what was there.
export function scheduleOf(f, was) {
  const s = { name: f.name.trim() }
  const had = lean(was)
  for (const k of ['on', 'from', 'until', 'revision']) if (had[k]) s[k] = had[k]
  if (f.when === 'cron') { s.cron = f.cron.trim(); if (f.tz && f.tz !== 'UTC') s.tz = f.tz } else if (f.when === 'every') s.every = f.every.trim()
  else if (f.at) s.at = f.at + ':00Z'
  if (f.all) s.all = true
  if (f.all && f.where.trim()) s.where = f.where.trim()
  if (!f.all) delete s.on
  for (const k of ['pool', 'overlap', 'startDeadline', 'jitter']) if (f[k].trim()) s[k] = f[k].trim()
  const task = lean(had.task)
  if (f.kind !== 'kept') for (const k of ['argv', 'commands', 'file', 'language']) delete task[k]
  if (f.kind === 'argv') task.argv = words(f.argv) || []
  if (f.kind === 'command') task.commands = [f.command]
  for (const k of ['timeout', 'user']) { if (f[k].trim()) task[k] = f[k].trim(); else delete task[k] }
  s.task = task
  return s
}

// scheduleCommand is the same by hand.
export function scheduleCommand(f) {
  const s = scheduleOf(f)
  const flags = []
  const add = (flag, v) => { if (v) flags.push(flag, quote(v)) }
  add('--cron', s.cron); add('--tz', s.tz); add('--every', s.every); add('--at', s.at)
  add('--pool', s.pool); if (s.all) flags.push('--all')
  add('--where', s.where); add('--overlap', s.overlap); add('--start-deadline', s.startDeadline); add('--jitter', s.jitter)
  add('--timeout', s.task.timeout); add('--user', s.task.user)
  const what = f.kind === 'argv' ? (s.task.argv.map(quote).join(' ') || '…') : null
  return ['runnel schedule add', quote(s.name || 'NAME'), ...flags, ...(what ? ['--', what] : ['-c', quote(f.command || '…')])].join(' ')
}
