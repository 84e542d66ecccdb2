// What is live: one stream for all tabs, a gateway that goes away and comes back, somebody who is
// signed out or may less while he looks, and a clock that is wrong.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { World, clean, long, until } from './world.js'
import { everywhere } from './checks.js'

let w
before(async () => {
  w = await World.open({ apart: true, simulate: 3 })
  await until('all three answer', async () => Object.keys((await w.api('GET', '/api/v1/glance/sys')).hosts).length === 3, 120)
})
after(() => w?.close())

const foot = page => page.textContent('.foot')
const sum = page => page.evaluate(() => document.querySelector('.sum')?.innerText.replace(/\s+/g, ' '))
const cut = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|503/

const touch = file => w.cli('run', '--on', 'web1-1', '--', 'touch', file)

test('many tabs and many logs are live at once, and exact at their ends', { timeout: 600000 }, async () => {
  const [tabs, lines] = long ? [20, 400] : [4, 60]
  const groups = []
  for (let i = 1; i < tabs; i++) groups.push(await w.api('POST', '/api/v1/runs', { name: 'tab' + i, target: { all: true }, wait: '0s', command: `for i in $(seq ${lines}); do echo "line $i of ${i}"; sleep .1; done; until [ -e ${w.dir}/go ]; do sleep .2; done; echo "last of ${i}"` }))
  for (const g of groups) assert.equal(g.runs.length, 3)
  const first = await w.page()
  await first.goto(w.url + '/runs')
  const pages = [first]
  for (const g of groups) {
    const page = await first.context().newPage()
    page.problems = first.problems
    await page.goto(`${w.url}/fanout/${g.group}`)
    await page.setViewportSize({ width: 1500, height: 700 })
    await until('three hosts', async () => await page.locator('main tbody input').count() === 3)
    await until('three logs', async () => { // rows change places while they run
      if (await page.locator('.pane .log').count() === 3) return true
      await page.evaluate(() => document.querySelector('main tbody input:not(:checked)')?.click())
      return false
    })
    pages.push(page)
  }
  const panes = page => page.evaluate(() => [...document.querySelectorAll('.pane')].map(p => ({ last: [...p.querySelectorAll('.ln code')].at(-1)?.textContent || '', sum: p.querySelector('.sum')?.innerText || '' })))
  const all = async () => (await Promise.all(pages.slice(1).map(panes))).flat()
  console.log(`# ${pages.length} tabs, ${(await all()).length} logs`)
  await until('each log has come to its last line but one', async () => (await all()).every(p => p.last.startsWith(`line ${lines} of`)), 180)
  await until('all are live', async () => (await Promise.all(pages.map(foot))).every(t => /Live/.test(t)))
  await touch(w.dir + '/go')
  await until('the ends are told and verified', async () => (await all()).every(p => p.last.startsWith('last of') && /COMPLETE/.test(p.sum) && /verified/.test(p.sum)), 180)
  await until('the list knows it', async () => !(await first.textContent('main tbody')).includes('RUNNING'))
  clean(first)
  await first.context().close()
})

// allText scrolls through a log and puts its lines together.
async function allText(page) {
  await page.focus('.log')
  await page.keyboard.press('g')
  const lines = new Map()
  let n = Infinity
  for (let last = 0; last < n;) {
    await until('what is seen has come', () => page.evaluate(() => !document.querySelector('.ln.soon')))
    const [rows, count] = await page.evaluate(() => [[...document.querySelectorAll('.ln')].map(l => [Number(l.id.slice(1)), l.querySelector('code').textContent]),
      Number(document.querySelector('.sum').innerText.replace(/,/g, '').match(/(\d+)\s+lines?/)[1])])
    for (const [k, t] of rows) lines.set(k, t)
    n = count
    while (lines.has(last + 1)) last++
    if (last < n) await page.evaluate(l => { location.hash = '#L' + l }, last)
    await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))
  }
  return [...lines.keys()].sort((a, b) => a - b).map(k => lines.get(k) + '\n').join('')
}

test('the gateway goes away while a log is written and comes back: it is said, and nothing is missing', { timeout: 300000 }, async () => {
  const go = w.dir + '/go-away'
  const id = await w.run(['bash', '-c', `i=0; until [ -e ${go} ]; do i=$((i + 1)); echo "line $i"; sleep .05; done; echo "the last"`])
  const page = await w.page()
  await page.goto(`${w.url}/runs/${id}`)
  const seen = () => page.evaluate(() => Number([...document.querySelectorAll('.ln')].at(-1)?.id.slice(1) || 0))
  await until('lines come', async () => await seen() > 10)
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    await w.stop(signal, w.gateway)
    await until('cut off is said', async () => /Cut off since \d\d:\d\d:\d\d/.test(await foot(page)))
    const at = await seen()
    assert.ok(await page.locator('button:has-text("Abort")').isDisabled())
    if (signal === 'SIGKILL') await everywhere(page, 'cutoff')
    await until('the run has written more meanwhile', async () => (await w.cli('logs', '--tail', '1', id)).match(/\d+/)[0] > at + 20)
    await w.startGateway()
    await until('it goes on by itself', async () => await seen() > at + 20)
    await until('it is said', async () => /Back after|Live/.test(await foot(page)))
  }
  await touch(go)
  await until('its end is told', async () => /COMPLETE.*sha256 verified/.test(await sum(page)), 120)
  // The hash is of what came by the stream, over all cuts, and what is shown is what the log has.
  assert.match(await page.getAttribute('.ver code', 'title'), /that came live/)
  assert.equal(await allText(page), await w.cli('logs', id))
  clean(page, cut)
  await page.context().close()
})

test('a log that is closed and opened again at once is heard from its beginning', { timeout: 300000 }, async () => {
  const group = await w.api('POST', '/api/v1/runs', { name: 'again', target: { all: true }, wait: '0s', command: `i=0; until [ -e ${w.dir}/go-again ]; do i=$((i + 1)); echo "line $i"; sleep .05; done; echo "the last"` })
  const page = await w.page()
  await page.goto(`${w.url}/fanout/${group.group}`)
  const box = host => page.locator('main tbody tr', { hasText: host }).locator('input')
  const panes = () => page.locator('.pane .log').count()
  const lines = () => page.evaluate(() => Math.min(...[...document.querySelectorAll('.pane')].map(p => p.querySelectorAll('.ln').length)))
  await box('web1-1').click()
  await box('web1-2').click()
  for (let i = 0; i < 3; i++) {
    await until('lines come', async () => await panes() === 2 && await lines() > 3)
    await box('web1-2').click()
    await until('it is closed', async () => await panes() === 1)
    await box('web1-2').click()
  }
  await until('lines come', async () => await panes() === 2 && await lines() > 3)
  await touch(w.dir + '/go-again')
  const told = () => page.evaluate(() => [...document.querySelectorAll('.pane .sum')].map(s => s.innerText.replace(/\s+/g, ' ')))
  await until('the ends are told', async () => (await told()).every(t => /COMPLETE.*(verified|differs)/.test(t)), 120)
  for (const t of await told()) assert.match(t, /verified/)
  clean(page)
  await page.context().close()
})

test('a tab without SharedWorker has a stream of its own, and rests while nobody sees it', { timeout: 300000 }, async () => {
  const id = await w.run(['bash', '-c', `i=0; until [ -e ${w.dir}/go-alone ]; do i=$((i + 1)); echo "line $i"; sleep .05; done; echo "the last"`])
  const context = (await w.page()).context()
  await context.addInitScript(() => {
    delete window.SharedWorker
    // Pages of a browser without a window are never hidden by themselves.
    let hidden = false
    Object.defineProperty(document, 'hidden', { get: () => hidden })
    window.hide = on => { hidden = on; document.dispatchEvent(new Event('visibilitychange')) }
  })
  const pages = []
  for (let i = 0; i < 9; i++) { // more than a browser's connections
    const page = await context.newPage()
    page.problems = []
    await page.goto(`${w.url}/runs/${id}`)
    await until('lines come', () => page.evaluate(() => document.querySelectorAll('.ln').length > 0))
    await page.evaluate(() => window.hide(true))
    pages.push(page)
  }
  await touch(w.dir + '/go-alone')
  await w.ended(id)
  await pages[0].evaluate(() => window.hide(false))
  await until('it catches up', async () => /COMPLETE.*sha256 verified/.test(await sum(pages[0])))
  await context.close()
})

test('signed out in one tab: the others say so, and all go on when somebody signs in', async () => {
  const id = await w.run(['bash', '-c', 'for i in $(seq 100000); do echo "line $i"; sleep .05; done'])
  const page = await w.page()
  await page.goto(`${w.url}/runs/${id}#L3`)
  await until('line 3 is seen', () => page.evaluate(() => !!document.querySelector('#L3')))
  const other = await page.context().newPage()
  await other.goto(w.url + '/fleet')
  await until('the fleet', async () => await other.locator('main tbody tr').count() === 3)
  await other.click('.who')
  for (const p of [page, other]) await p.waitForSelector('h1:has-text("Sign in to Runnel")')
  assert.match(await foot(page), /Signed out: you signed out/)
  await other.click('text=Or paste a token')
  await other.keyboard.type(await w.token('admin', 'grace'))
  await other.keyboard.press('Enter')
  await until('the fleet is back', async () => await other.locator('main tbody tr').count() === 3)
  await until('the log is back, where one was', () => page.evaluate(() => document.querySelector('#L3')?.classList.contains('at')))
  assert.match(await page.textContent('.who'), /grace/)
  const n = Number((await sum(page)).replace(/,/g, '').match(/(\d+) lines/)[1])
  await until('it goes on', async () => Number((await sum(page)).replace(/,/g, '').match(/(\d+) lines/)[1]) > n)
  await w.api('POST', `/api/v1/runs/${id}/abort`)
  clean(page, /401/)
  await page.context().close()
})

test('a token that ends in mid-view is told, without a click', async () => {
  let page
  for (let life = 4; ; life *= 2) { // a busy machine may be late
    const token = (await w.cli('gateway', 'token', '--sub', 'ada', '--scope', 'admin', '--for', life + 's')).trim()
    page = await w.page({ signedIn: false })
    await page.context().addCookies([{ name: 'jwt', value: token, url: w.url, httpOnly: true, sameSite: 'Strict' }])
    await page.goto(w.url + '/fleet')
    await page.waitForSelector('main tbody tr, h1:has-text("Sign in")')
    if (await page.locator('main tbody tr').count()) break
    await page.context().close()
  }
  await page.waitForSelector('h1:has-text("Sign in to Runnel")')
  assert.match(await foot(page), /Signed out: token is expired/)
  clean(page, /401/)
  await page.context().close()
})

test('a token that allows less in mid-view: the server’s words, and the view goes on when it is let in again', async () => {
  const id = await w.run(['bash', '-c', 'for i in $(seq 100000); do echo "line $i"; sleep .05; done'])
  const page = await w.page()
  const cookie = async scope => page.context().addCookies([{ name: 'jwt', value: await w.token(scope), url: w.url, httpOnly: true, sameSite: 'Strict' }])
  await page.goto(`${w.url}/runs/${id}`)
  await until('lines come', () => page.evaluate(() => document.querySelectorAll('.ln').length > 3))
  await cookie('read')
  await page.click('text=Abort')
  await until('the refusal is told', async () => /cannot abort: the token does not allow this: it needs scope run/.test(await foot(page)))
  await cookie('jobs')
  await w.stop('SIGKILL', w.gateway)
  await w.startGateway()
  await page.waitForSelector('[role=alert]:has-text("Cannot read the log: the token does not allow this: it needs scope read")')
  await everywhere(page, 'refused')
  await cookie('admin')
  const other = await page.context().newPage()
  await other.goto(w.url + '/fleet')
  await until('it goes on', async () => await page.locator('[role=alert]').count() === 0)
  const n = Number((await sum(page)).replace(/,/g, '').match(/(\d+) lines/)[1])
  await until('lines come', async () => Number((await sum(page)).replace(/,/g, '').match(/(\d+) lines/)[1]) > n)
  await w.api('POST', `/api/v1/runs/${id}/abort`)
  clean(page, /403/, cut)
  await page.context().close()
})

for (const days of [-1, 1]) {
  test(`a clock that is ${days > 0 ? 'ahead' : 'behind'} by a day: ages and filters are the server's`, async () => {
    const id = await w.run(['sleep', '600'], { name: 'clock' + days })
    const page = await w.page({ width: 1600 })
    await page.context().addInitScript(by => {
      const Real = Date
      window.Date = class extends Real {
        constructor(...args) { super(...(args.length ? args : [Real.now() + by])) }
        static now() { return Real.now() + by }
      }
    }, days * 86400e3)
    await page.goto(w.url + '/fleet')
    await until('three runners, seen just now', async () => {
      const seen = await page.evaluate(() => [...document.querySelectorAll('main tbody tr')].map(r => r.lastElementChild.innerText))
      return seen.length === 3 && seen.every(t => /^\d+s$/.test(t))
    })
    await page.goto(w.url + '/runs?since=1h&text=clock' + days)
    await until('the run is of this hour', async () => /clock.*RUNNING.*\d+[sm] ago/.test((await page.evaluate(() => document.querySelector('main tbody tr')?.innerText || '')).replace(/\s+/g, ' ')))
    await page.goto(`${w.url}/runs/${id}`)
    await until('how long it has been going', async () => /RUNNING for (\d+s|\dm \d\ds) /.test(await sum(page)))
    assert.match(await page.textContent('.head'), /started \d+[sm] ago/)
    await w.api('POST', `/api/v1/runs/${id}/abort`)
    clean(page)
    await page.context().close()
  })
}

test('an empty fleet: each view says what to do next', async () => {
  const url = await w.emptyGateway()
  const page = await w.page()
  await page.context().addCookies([{ name: 'jwt', value: await w.token('admin'), url, httpOnly: true, sameSite: 'Strict' }])
  page.problems.length = 0
  await page.goto(url + '/fleet')
  await page.waitForSelector('h2:has-text("No runners yet")')
  await everywhere(page, 'empty-fleet')
  await page.goto(url + '/runs')
  await page.waitForSelector('h2:has-text("No runners yet")')
  await everywhere(page, 'empty-runs', { axe: false })
  await page.goto(url + '/new')
  await page.fill('#cmd', 'uptime')
  await until('that nobody is there', async () => /no runner/i.test(await page.textContent('main')))
  await everywhere(page, 'empty-new')
  await page.goto(url + '/runs/nosuch')
  await page.waitForSelector('[role=alert]:has-text("Cannot show this run")')
  clean(page, /asked elsewhere/, /404|503/)
  await page.context().close()
})
