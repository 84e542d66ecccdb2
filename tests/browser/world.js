// A fleet of its own for each file of tests: one process that has the server, the runners and the
// gateway, as `runnel serve --http` is, and a browser.
import { spawn, execFile } from 'node:child_process'
import { createServer } from 'node:net'
import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'

const exec = promisify(execFile)
export const shots = process.env.RUNNEL_SHOTS || ''
const binary = process.env.RUNNEL_BIN
const patience = Number(process.env.RUNNEL_PATIENCE || 1)
export const long = process.env.RUNNEL_LONG === '1'
export const widths = [360, 1024, 2560]

// freePort is one that nobody listens on now, below those that Linux gives out by itself: a browser
// that dials a server which is away could else connect to itself, and keep the port from the server.
async function freePort() {
  for (;;) {
    const port = 15000 + Math.floor(Math.random() * 17000)
    const free = await new Promise(done => {
      const s = createServer().listen(port, '127.0.0.1', () => s.close(() => done(true))).on('error', () => done(false))
    })
    if (free) return port
  }
}

export async function until(what, f, seconds = 90) {
  const end = Date.now() + seconds * 1000 * patience
  let last
  for (;;) {
    try {
      const v = await f()
      if (v) return v
      last = undefined
    } catch (err) { last = err }
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain: ${what}${last ? ': ' + last.message : ''}`)
    await new Promise(done => setTimeout(done, 100))
  }
}

export class World {
  // apart: the gateway is a process of its own, so that it alone can go away.
  static async open({ simulate = 0, args = [], name = 'web1', apart = false } = {}) {
    const w = new World()
    w.dir = await mkdtemp(join(tmpdir(), 'runnel-browser-'))
    w.env = { ...process.env, HOME: w.dir, XDG_CONFIG_HOME: join(w.dir, 'config'), XDG_DATA_HOME: join(w.dir, 'data'), RUNNEL_JWT_SECRET: 'a secret of the browser tests', NO_COLOR: '1' }
    w.port = await freePort()
    w.nats = await freePort()
    w.url = `http://127.0.0.1:${w.port}`
    const http = ['--http', `127.0.0.1:${w.port}`]
    w.args = ['serve', '--name', name, ...(apart ? [] : http), '--listen', `127.0.0.1:${w.nats}`, ...(simulate ? ['--simulate', String(simulate)] : []), ...args]
    w.gatewayArgs = apart && ['gateway', ...http, '--context', `runnel-${name}`]
    await w.start()
    w.browser = await chromium.launch({ executablePath: process.env.RUNNEL_CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] })
    return w
  }

  async start() {
    this.server = await this.process(this.args, async p => /ready: /.test(p.output) && (this.gatewayArgs || (await fetch(this.url + '/readyz')).ok))
    if (this.gatewayArgs) await this.startGateway()
  }

  // emptyGateway is that of another fleet of the same server, which has no runner; gives its address.
  async emptyGateway() {
    const port = await freePort(), url = `http://127.0.0.1:${port}`
    const args = [...this.gatewayArgs, '--prefix', 'empty']
    args[args.indexOf('--http') + 1] = `127.0.0.1:${port}`
    this.empty = await this.process(args, async () => (await fetch(url + '/healthz')).ok)
    return url
  }

  async startGateway() { this.gateway = await this.process(this.gatewayArgs, async () => (await fetch(this.url + '/readyz')).ok) }

  // process starts one of runnel and waits until it is ready.
  async process(args, ready) {
    const p = spawn(binary, args, { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
    p.output = ''
    for (const s of [p.stdout, p.stderr]) s.on('data', b => { p.output += b })
    p.ended = new Promise(done => p.once('exit', done))
    const early = p.ended.then(code => { throw new Error(`runnel ${args[0]} ended with ${code}: ${p.output}`) })
    early.catch(() => {})
    await Promise.race([early, until(`runnel ${args[0]} is ready`, () => ready(p), 120)])
    return p
  }

  async stop(signal = 'SIGTERM', p = this.server) {
    if (p.exitCode === null && p.signalCode === null) p.kill(signal)
    await p.ended
  }

  async close() {
    await this.browser?.close()
    if (this.empty) await this.stop('SIGTERM', this.empty)
    if (this.gateway) await this.stop('SIGTERM', this.gateway)
    if (this.server) await this.stop()
    await rm(this.dir, { recursive: true, force: true })
  }

  async cli(...args) {
    const { stdout } = await exec(binary, args, { env: this.env, maxBuffer: 1 << 28 })
    return stdout
  }

  async token(scope, sub = 'ada') {
    return (await this.cli('gateway', 'token', '--sub', sub, ...(scope ? ['--scope', scope] : []))).trim()
  }

  async api(method, path, body) {
    this.bearer ||= await this.token('admin')
    const res = await fetch(this.url + path, { method, headers: { Authorization: 'Bearer ' + this.bearer, 'Content-Type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body) })
    const text = await res.text()
    if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`)
    return text && res.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text
  }

  // run starts a command on the fleet and gives its id at once.
  async run(command, { name, tags = {}, args = [] } = {}) {
    const flags = [...(name ? ['--name', name] : []), ...Object.entries(tags).flatMap(([k, v]) => ['--tag', `${k}=${v}`]), ...args]
    const out = await this.cli('run', '--detach', ...flags, '--', ...command)
    return out.trim().split(/\s+/).pop()
  }

  async ended(id) {
    return until(`run ${id} ends`, async () => {
      const run = await this.api('GET', '/api/v1/runs/' + id)
      return !['PENDING', 'RUNNING'].includes(run.state) && run
    })
  }

  // page opens one, signed in; what it writes to the console, or asks of others, is a failure.
  async page({ width = 1280, height = 900, scheme = 'light', scope = 'admin', signedIn = true, sub, ...options } = {}) {
    const context = await this.browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce', serviceWorkers: 'block', ...options })
    if (signedIn) await context.addCookies([{ name: 'jwt', value: await this.token(scope, sub), url: this.url, httpOnly: true, sameSite: 'Strict' }])
    const page = await context.newPage()
    page.problems = []
    page.expected = []
    page.on('console', m => { if (m.type() === 'error' || m.type() === 'warning') page.problems.push(`console: ${m.text()} ${m.location().url}`) })
    page.on('pageerror', err => page.problems.push(`error: ${err.stack || err}`))
    context.on('request', r => { if (!r.url().startsWith(this.url) && !/^(data|blob):/.test(r.url())) page.problems.push(`asked elsewhere: ${r.url()}`) })
    return page
  }
}

// clean fails if a page has said something, but for what is expected.
export function clean(page, ...expected) {
  const left = page.problems.filter(p => !expected.some(e => e.test(p)))
  page.problems.length = 0
  if (left.length) throw new Error('the console is not clean:\n' + left.join('\n'))
}

export async function shot(page, name) {
  if (!shots) return
  await mkdir(shots, { recursive: true })
  await page.screenshot({ path: join(shots, name + '.png') })
}

export { existsSync }
