// Times and numbers as people read them.
import { computed, signal } from '@preact/signals'
import { now } from './api.js'

export const second = signal(0)
setInterval(() => { second.value++ }, 1000)

const two = n => String(n).padStart(2, '0')
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

// millis of an RFC 3339 text; 0 where there is none
export const millis = t => (t && !t.startsWith('0001') ? Date.parse(t) || 0 : 0)

export function duration(ms) {
  if (ms < 0) ms = 0
  if (ms < 95) return Math.round(ms) + ' ms'
  if (ms < 30e3) return (ms / 1e3).toFixed(1) + 's'
  const s = Math.round(ms / 1e3)
  if (s < 60) return s + 's'
  if (s < 3600) return Math.floor(s / 60) + 'm ' + two(s % 60) + 's'
  if (s < 86400) return Math.floor(s / 3600) + 'h ' + two(Math.floor(s / 60) % 60) + 'm'
  return Math.floor(s / 86400) + 'd ' + Math.floor(s / 3600) % 24 + 'h'
}

export function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1e3))
  if (s < 60) return s + 's'
  if (s < 3600) return Math.floor(s / 60) + 'm'
  if (s < 86400) return Math.floor(s / 3600) + 'h'
  return Math.floor(s / 86400) + 'd'
}

export function date(t) {
  const d = new Date(t)
  return d.getUTCDate() + ' ' + months[d.getUTCMonth()] + ' ' + two(d.getUTCHours()) + ':' + two(d.getUTCMinutes())
}
export const full = t => new Date(t).toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC')
export const clock = t => new Date(t).toISOString().slice(11, 23)
export const clockSeconds = t => new Date(t).toISOString().slice(11, 19)

// A text that is written again by itself, without its component: ages tick.
export const ticking = text => computed(() => { second.value; return text(now()) })

export const group = n => String(Math.trunc(n)).replace(/\B(?=(\d{3})+(?!\d))/g, ',')
export function size(n) {
  if (n < 1000) return [String(n), 'B']
  for (const unit of ['kB', 'MB', 'GB', 'TB']) {
    n /= 1000
    if (n < 999.5 || unit === 'TB') return [n < 10 ? n.toFixed(1) : String(Math.round(n)), unit]
  }
}
export const bytes = n => size(n).join(' ')
export const signed = n => (n < 0 ? '−' : '+') + Math.abs(n)
