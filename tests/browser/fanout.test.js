// A fan-out: hosts by state, trouble first, and their logs side by side. A search in a log.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { after, before, test } from 'node:test'
import { join } from 'node:path'
import { World, clean, until } from './world.js'
import { everywhere } from './checks.js'

let w, more
before(async () => {
  w = await World.open()
  more = spawn(process.env.RUNNEL_BIN, ['serve', '--name', 'shop', '--simulate', '5', '--context', 'runnel-web1', '--data', join(w.dir, 'shop')], { env: w.env, stdio: 'ignore' })
  await until('six runners are there', async () => (await w.api('GET', '/api/v1/runners')).runners.length === 6, 120)
  await until('all of them answer', async () => Object.keys((await w.api('GET', '/api/v1/glance/sys')).hosts).length === 6, 120)
})
after(async () => {
  if (more) { const ended = new Promise(done => more.once('exit', done)); more.kill('SIGKILL'); await ended }
  await w?.close()
})

const rows = page => page.evaluate(() => [...document.querySelectorAll('main tbody tr')].map(r => r.innerText.replace(/\s+/g, ' ')))

test('hosts: trouble first, last lines, logs side by side, the same output together', async () => {
  const onAll = body => until('all six are reached', async () => { const got = await w.api('POST', '/api/v1/runs', { ...body, target: { all: true }, wait: '20s' }); return got.runs.length === 6 && got })
  const got = await onAll({ command: 'echo begin; echo "done here"', name: 'upgrade' })
  const bad = await onAll({ command: 'echo "error: no" >&2; exit 4', name: 'fails' })
  const page = await w.page({ width: 1500 })
  await page.goto(`${w.url}/fanout/${got.group}`)
  await until('six hosts', async () => (await rows(page)).length === 6)
  await until('their last lines', async () => (await rows(page)).every(r => /done here/.test(r)))
  assert.match(await page.textContent('.head'), /6 of 6 good/)
  await page.locator('main tbody input').nth(1).click()
  await page.locator('main tbody input').nth(2).click()
  await until('two logs', async () => await page.locator('.pane .log').count() === 2 && (await page.locator('.pane').allInnerTexts()).every(t => /begin[\s\S]*done here/.test(t)))
  await everywhere(page, 'fanout')
  await page.setViewportSize({ width: 1500, height: 900 })
  await page.click('text=By same output')
  await until('one row for all', async () => { const r = await rows(page); return r.length === 1 && /6 hosts/.test(r[0]) })
  await page.goto(`${w.url}/fanout/${bad.group}`)
  await until('six failed', async () => /6 of 6 failed/.test(await page.textContent('.head')))
  await until('their exit codes', async () => (await rows(page)).every(r => /COMPLETE exit 4/.test(r)))
  await page.goto(`${w.url}/fanout/nosuch`)
  await page.waitForSelector('h2:has-text("No runs of this fan-out")')
  clean(page)
  await page.context().close()
})

test('a search is the server’s: count, next, previous, marks', async () => {
  const { id } = await w.api('POST', '/api/v1/runs', { command: String.raw`seq 1 3000; printf '\033[31mNee\033[0mdle one\n'; seq 1 3000; echo needle two needle; seq 1 50`, name: 'hay', target: { on: 'web1' }, wait: '20s' })
  const page = await w.page()
  await page.goto(`${w.url}/runs/${id}`)
  await page.waitForSelector('.log .ln code')
  await page.keyboard.press('/')
  await page.keyboard.type('needle')
  const count = () => page.textContent('.find output')
  await until('three places', async () => /^\d of 3$/.test(await count()))
  await page.keyboard.press('Enter')
  const at = Number((await count())[0])
  await page.keyboard.press('Shift+Enter')
  await until('one before', async () => Number((await count())[0]) === (at === 1 ? 3 : at - 1))
  await page.keyboard.press('Home')
  for (let i = 0; i < 3 && await count() !== '1 of 3'; i++) await page.keyboard.press('Enter')
  await until('the first is seen', async () => await page.evaluate(() => document.querySelector('#L3001 mark.cur')?.textContent) === 'Nee')
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('#L3001 mark')].map(m => m.textContent).join('')), 'Needle')
  await page.fill('.find input', 'nowhere to be seen')
  await until('none', async () => await count() === 'none')
  clean(page)
  await page.context().close()
})
