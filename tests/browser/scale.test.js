// Lists of their whole size: a thousand runners, ten thousand runs, a thousand jobs (RUNNEL_LONG=1), some of each else.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { World, clean, long, until } from './world.js'

const [runners, fanouts, singles, jobs] = long ? [1000, 9, 1000, 1000] : [30, 5, 40, 120]
let w
const reached = [] // by each fan-out
before(async () => {
  w = await World.open({ apart: true, simulate: runners, args: ['--engine'] })
  await until('all runners are there', async () => (await w.api('GET', '/api/v1/runners')).runners.length === runners, 180)
  await until('all of them answer', async () => Object.keys((await w.api('GET', '/api/v1/glance/sys')).hosts).length === runners, 120)
  for (let i = 0; i < fanouts; i++) reached.push((await w.api('POST', '/api/v1/runs', { command: 'true', name: 'everywhere ' + i, target: { all: true }, wait: '30s' })).runs.length)
  for (let i = 0; i < singles; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => w.api('POST', '/api/v1/runs', { command: 'true', name: 'single ' + (i + k), wait: '30s' })))
  for (const state of ['PENDING', 'RUNNING']) await until('none is ' + state, async () => (await w.api('GET', '/api/v1/runs?limit=1&state=' + state)).runs.length === 0, 180)
}, { timeout: 600000 })
after(() => w?.close())

const count = (page, what = 'main tbody tr') => page.locator(what).count()
const head = page => page.evaluate(() => document.querySelector('main').innerText)

async function open(page, path, ready) {
  await page.addInitScript(() => {
    window.longest = 0
    new PerformanceObserver(l => { for (const e of l.getEntries()) window.longest = Math.max(window.longest, e.duration) }).observe({ type: 'longtask', buffered: true })
  })
  await page.goto(w.url + path, { waitUntil: 'commit' })
  await page.waitForFunction(([what, text, n]) => what ? document.querySelectorAll(what).length > n : document.querySelector('main')?.innerText.replace(/,/g, '').includes(text), ready, { polling: 'raf', timeout: 300000 })
  return page.evaluate(() => performance.now())
}

// scroll goes down in steps and says how long the longest frame was.
const scroll = (page, steps) => page.evaluate(async steps => {
  let worst = 0, last = performance.now()
  for (let i = 0; i < steps; i++) {
    scrollBy(0, 400)
    await new Promise(done => requestAnimationFrame(done))
    worst = Math.max(worst, performance.now() - last)
    last = performance.now()
  }
  return worst
}, steps)

test(`${runners} runners`, { timeout: 600000 }, async () => {
  const page = await w.page({ width: 1600 })
  const first = await open(page, '/fleet', ['', `${runners} runners`])
  console.log(`# ${runners} runners: shown after ${Math.round(first)} ms, longest task ${Math.round(await page.evaluate(() => window.longest))} ms`)
  for (let i = 0; i < 200 && await count(page) < runners; i++) await page.evaluate(() => scrollTo(0, document.body.scrollHeight))
  await until('all rows come as one scrolls', async () => { await page.evaluate(() => scrollTo(0, document.body.scrollHeight)); return await count(page) === runners })
  await page.evaluate(() => scrollTo(0, 0))
  console.log(`# longest frame while scrolling ${Math.round(await scroll(page, 40))} ms`)
  await page.fill('[data-find]', `-${runners - 1}`)
  await until('one is left', async () => await count(page) === 1)
  await page.fill('[data-find]', '')
  await page.click('text=Matrix')
  await until('as marks', async () => await count(page, '.mx li') === runners)
  clean(page)
  await page.context().close()
})

test(`${fanouts * runners + singles} runs`, { timeout: 600000 }, async () => {
  const page = await w.page({ width: 1600 })
  const first = await open(page, '/runs', ['main tbody tr', '', 20])
  console.log(`# ${reached.reduce((a, b) => a + b, singles)} runs: the first shown after ${Math.round(first)} ms, longest task ${Math.round(await page.evaluate(() => window.longest))} ms`)
  await until('all come as one scrolls', async () => { await page.evaluate(() => scrollTo(0, document.body.scrollHeight)); return /all that match/.test(await head(page)) }, 240)
  assert.equal(await count(page), fanouts + singles)
  // A fan-out is one row, of all its hosts.
  const groups = await page.evaluate(() => [...document.querySelectorAll('main tbody tr')].map(r => r.innerText.replace(/\s+/g, ' ').replace(/,/g, '')).filter(t => /everywhere/.test(t)))
  assert.equal(groups.length, fanouts)
  groups.sort((a, b) => a.match(/everywhere (\d+)/)[1] - b.match(/everywhere (\d+)/)[1])
  groups.forEach((g, i) => assert.match(g, new RegExp(`${reached[i]} of ${reached[i]} good.*${reached[i]} hosts`)))
  console.log(`# longest frame while scrolling ${Math.round(await scroll(page, 40))} ms`)
  // A new run comes by itself.
  await page.evaluate(() => scrollTo(0, 0))
  await w.run(['true'], { name: 'the newest' })
  await until('a new run is seen', async () => /the newest/.test(await head(page)) || (await page.locator('text=/\\d+ new/').count() > 0))
  await page.fill('[data-find]', 'single 17')
  await until('those with that text', async () => { const t = await page.evaluate(() => [...document.querySelectorAll('main tbody th')].map(e => e.innerText)); return t.length > 0 && t.every(x => x.startsWith('single 17')) })
  clean(page)
  await page.context().close()
})

test(`a fan-out over ${runners} hosts`, { timeout: 600000 }, async () => {
  const { runs: list } = await w.api('GET', '/api/v1/runs?limit=1&text=everywhere')
  const hosts = reached[list[0].name.match(/\d+/)[0]]
  const page = await w.page({ width: 1600 })
  const first = await open(page, '/fanout/' + list[0].group, ['', `${hosts} of ${hosts} good`])
  console.log(`# a fan-out over ${runners}: shown after ${Math.round(first)} ms, longest task ${Math.round(await page.evaluate(() => window.longest))} ms`)
  assert.equal(await count(page, '.map g'), hosts)
  clean(page)
  await page.context().close()
})

test(`${jobs} jobs`, { timeout: 600000 }, async () => {
  await writeFile(join(w.dir, 'pipelines.yml'), 'pipelines: {many: {concurrency: 8, tasks: {one: {script: ["true"]}}}}\n')
  await w.cli('pipeline', 'apply', join(w.dir, 'pipelines.yml'))
  for (let i = 0; i < jobs; i += 20) await Promise.all(Array.from({ length: 20 }, () => w.api('POST', '/api/v1/pipelines/many/jobs', {})))
  const page = await w.page({ width: 1600 })
  const first = await open(page, '/jobs', ['main tbody tr', '', 20])
  console.log(`# ${jobs} jobs: the first shown after ${Math.round(first)} ms, longest task ${Math.round(await page.evaluate(() => window.longest))} ms`)
  await until('all come as one scrolls', async () => { await page.evaluate(() => scrollTo(0, document.body.scrollHeight)); return (await head(page)).replace(/,/g, '').includes(`${jobs} jobs`) }, 240)
  assert.equal(await page.locator('table:has(caption:text("Jobs, newest first")) tbody tr').count(), jobs)
  console.log(`# longest frame while scrolling ${Math.round(await scroll(page, 40))} ms`)
  await until('all have ended', async () => !/running|waiting/.test(await page.evaluate(() => [...document.querySelectorAll('main table')].at(-1).innerText)), 240)
  clean(page)
  await page.context().close()
})
