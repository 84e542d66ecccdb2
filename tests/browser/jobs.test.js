// Pipelines, their jobs, a job's graph: live, with what strangers name things.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { join } from 'node:path'
import { World, clean, until } from './world.js'
import { everywhere } from './checks.js'

const evil = '<script>alert(1)</script><img src=x>'
const rtl = 'مهمة النسخ الاحتياطي'
const long = 'n'.repeat(128)
const definitions = `
pipelines:
  release:
    queue_limit: 2
    tasks:
      checkout: {script: ['echo "checking out {{ .version }}"']}
      unit: {script: ['for i in $(seq 1 5); do echo "ok $i"; done'], depends_on: [checkout]}
      build: {script: ['echo "build for {{ default "stable" .channel }}"; echo "warning: old" >&2'], depends_on: [checkout]}
      docs: {script: [exit 2], depends_on: [checkout], allow_failure: true}
      gate: {script: ['while [ ! -e "{{ .gate }}" ]; do echo waits; sleep .2; done; echo through'], depends_on: [unit, build]}
      everywhere: {script: [echo here], depends_on: [gate], on: {all: true}}
      never: {script: [echo no], depends_on: [gate], when: 'false'}
  quick: {tasks: {one: {script: [echo quick]}}}
  breaks:
    tasks:
      good: {script: [echo good]}
      bad: {script: ['echo "error: no ${evil.replace(/'/g, '')}" >&2; exit 3'], depends_on: [good]}
      behind: {script: [echo behind], depends_on: [bad]}
    on_error: {script: ['echo "handled $failedTaskName"']}
  marks: {}
  "${evil}": {tasks: {"${evil}": {script: [echo evil]}, "${rtl}": {script: [echo rtl], depends_on: ["${evil}"]}}}
  "${rtl}": {tasks: {"${long}": {script: [echo long]}}}
  "${long}": {tasks: {a: {script: ['echo {{ .${'v'.repeat(60)} }}']}}}
`
let w
before(async () => { w = await World.open() })
after(async () => { await w?.close() })

const rows = (page, caption) => page.evaluate(c => [...document.querySelectorAll('main table')].filter(t => t.caption.textContent.startsWith(c)).flatMap(t => [...t.tBodies[0].rows].map(r => r.innerText.replace(/\s+/g, ' ').trim())), caption)
const boxes = page => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('.dag .nd')].map(n => [n.querySelector('bdi').textContent, n.querySelector('small').textContent.replace(/\s+/g, ' ').trim()])))
const start = (name, variables = {}) => w.api('POST', `/api/v1/pipelines/${encodeURIComponent(name)}/jobs`, { variables: { channel: '', ...variables } })
const over = id => until(`job ${id} is over`, async () => { const job = await w.api('GET', '/api/v1/jobs/' + id); return job.completed && job })
const gate = name => join(w.dir, 'gate-' + name)
const releaseTo = async (id, task, status = 'running') => until(`${task} of ${id} is ${status}`, async () => (await w.api('GET', '/api/v1/jobs/' + id)).tasks.find(t => t.name === task).status === status)

test('without pipelines the page says what to do, and one that is put in shows up', async () => {
  const page = await w.page()
  await page.goto(w.url + '/jobs')
  await page.waitForSelector('h2:has-text("No pipelines yet")')
  assert.match(await page.textContent('main'), /runnel pipeline apply pipelines\.yml/)
  await everywhere(page, 'pipelines-empty')
  await writeFile(join(w.dir, 'pipelines.yml'), definitions)
  await w.cli('pipeline', 'apply', join(w.dir, 'pipelines.yml'))
  await page.reload()
  await until('all are listed', async () => (await rows(page, 'Pipelines')).length === 7)
  assert.match(await page.textContent('main'), /No jobs yet/)
  clean(page)
  await page.context().close()
})

test('the list: states, last jobs, filter, names of strangers are text', async () => {
  const page = await w.page({ width: 1600 })
  await page.goto(w.url + '/jobs')
  await until('all are listed', async () => (await rows(page, 'Pipelines')).length === 7)
  for (const name of ['quick', 'quick', 'breaks', evil, rtl]) await over((await start(name)).id)
  const job = await start('release', { version: evil, gate: gate('list') })
  await releaseTo(job.id, 'gate')
  await until('jobs have come by themselves', async () => (await rows(page, 'Jobs')).length === 6)
  await until('their states too', async () => /^release .*running/.test((await rows(page, 'Pipelines')).find(r => r.startsWith('release')) || ''))
  const list = (await rows(page, 'Pipelines')).join('\n')
  assert.match(list, /breaks error .*task bad: exit/)
  assert.match(list, /quick done/)
  assert.ok(list.includes(evil) && list.includes(rtl), list)
  assert.equal(await page.getAttribute('tr:has-text("quick") .hist', 'aria-label'), 'last jobs, newest right: done, done')
  await until('the usual time is known', async () => /quick done .* \d+(\.\d)?(s| ms)/.test((await rows(page, 'Pipelines')).find(r => r.startsWith('quick'))))
  await everywhere(page, 'pipelines')
  await page.setViewportSize({ width: 1600, height: 900 })
  await page.fill('[data-find]', 'breaks')
  await until('one is left', async () => (await rows(page, 'Pipelines')).length === 1 && (await rows(page, 'Jobs')).length === 1)
  await page.fill('[data-find]', 'no such thing')
  await page.waitForSelector('h2:has-text("Nothing matches")')
  await page.click('text=Clear the filter')
  await until('all are back', async () => (await rows(page, 'Pipelines')).length === 7)
  await page.click('th a:has-text("release") >> nth=0')
  await until('its graph', async () => Object.keys(await boxes(page)).length === 7 && (await rows(page, 'Jobs')).length === 1)
  await everywhere(page, 'pipeline')
  await writeFile(gate('list'), '')
  await over(job.id)
  clean(page)
  await page.context().close()
})

test('a job is started by a form of its variables, with the keyboard alone', async () => {
  const page = await w.page()
  await page.goto(w.url + '/jobs')
  await page.waitForSelector('button[aria-label="Start release"]')
  await page.focus('button[aria-label="Start release"]')
  await page.keyboard.press('Enter')
  await page.waitForSelector('aside[aria-label="Start release"] form')
  const labels = await page.locator('aside label').allInnerTexts()
  assert.deepEqual(labels, ['channel', 'gate', 'version'])
  await until('the first field has the focus', () => page.evaluate(() => document.activeElement.labels?.[0]?.innerText === 'channel'))
  assert.equal(await page.getAttribute('aside input', 'placeholder'), 'stable')
  assert.match(await page.textContent('aside'), /used by build[\s\S]*used by gate without a default, so it must be given[\s\S]*gate, version must be given/)
  assert.ok(await page.isDisabled('aside .btn.main'))
  await everywhere(page, 'pipelines-start')
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.focus('aside input')
  await page.keyboard.press('Tab')
  await page.keyboard.type(gate('form'))
  await page.keyboard.press('Tab')
  await page.keyboard.type("it's 1")
  assert.match(await page.textContent('aside pre'), /^runnel pipeline run release --var channel= --var gate=\S+ --var 'version=it'\\''s 1' --follow$/)
  await page.keyboard.press('Enter')
  await until('the job is shown', async () => /\/jobs\/[0-9a-f-]{36}$/.test(page.url()) && /release/.test(await page.textContent('h1')))
  const id = page.url().split('/').pop()
  assert.deepEqual(JSON.parse((await w.api('GET', '/api/v1/jobs/' + id)).variablesJson), { channel: '', gate: gate('form'), version: "it's 1" })
  await releaseTo(id, 'gate')
  // The queue takes two: what the server says of the third is shown.
  const others = [await start('release', { version: 2, gate: gate('form') }), await start('release', { version: 3, gate: gate('form') })]
  await page.goto(w.url + '/jobs?start=release')
  await page.waitForSelector('aside form')
  const labelled = async (name, text) => page.getByLabel(name, { exact: true }).fill(text)
  await labelled('version', '4')
  await labelled('gate', gate('form'))
  await page.click('aside .btn.main')
  await page.waitForSelector('aside [role=alert]:has-text("It was not started")')
  assert.match(await page.textContent('aside [role=alert]'), /queue/)
  await page.click('aside >> text=Leave')
  await until('the form is gone', async () => await page.locator('aside').count() === 0)
  await writeFile(gate('form'), '')
  for (const job of [{ id }, ...others]) await over(job.id)
  clean(page, /40[09]/)
  await page.context().close()
})

test('a job: the graph lives, each task has its log, times tick in place, the rest is skipped', async () => {
  const job = await start('release', { version: evil, gate: gate('live') })
  const page = await w.page({ width: 1500 })
  await page.goto(`${w.url}/jobs/${job.id}`)
  await until('the gate is running', async () => /^running \d+s on web1$/.test((await boxes(page)).gate))
  const at = await boxes(page)
  assert.match(at.checkout, /^done .* on web1$/)
  assert.equal(at.docs, 'error, exit 2, allowed')
  assert.equal(at.everywhere, 'waiting for gate')
  assert.match(await page.textContent('.head'), /running, 4 of 7/)
  await until('its log is followed', async () => /waits/.test(await page.textContent('.pane .log')))
  // A clock that ticks changes a text: what it stands in is the same.
  await page.evaluate(() => { window.box = [...document.querySelectorAll('.dag .nd')].find(n => n.textContent.includes('gate')); window.was = window.box.textContent })
  await until('the time goes on', () => page.evaluate(() => window.box.isConnected && window.box.textContent !== window.was))
  assert.equal(await page.locator('.dag .spin').count() + await page.locator('.dag use[href="#i-running"]').count(), 1)
  await everywhere(page, 'job-running')
  await page.setViewportSize({ width: 1500, height: 900 })
  // Another task by its box, and from there with arrows.
  await page.click('.dag a:has-text("build")')
  await until('its log', async () => /build for stable[\s\S]*warning: old/.test(await page.textContent('.pane')) && /task=build/.test(page.url()))
  await page.focus('.graph')
  await page.keyboard.press('ArrowLeft')
  await until('the one before', async () => /task=checkout/.test(page.url()) && (await page.textContent('.pane .log')).includes(`checking out ${evil}`))
  await page.keyboard.press('ArrowRight')
  await until('and back', () => !/task=checkout/.test(page.url()))
  await page.click('tbody a:has-text("gate")')
  await writeFile(gate('live'), '')
  await over(job.id)
  await until('the page knows', async () => /done/.test(await page.textContent('.head .st')))
  const ended = await boxes(page)
  assert.match(ended.everywhere, /^done .* on 1 runner$/)
  assert.equal(ended.never, 'skipped by its condition')
  await page.click('.dag a:has-text("never")')
  await page.waitForSelector('.pane h2:has-text("Skipped")')
  assert.equal(await page.locator('.dag .crit').count() >= 2, true)
  await page.click('tbody a:has-text("everywhere")')
  await until('the log of its run', async () => /here/.test(await page.textContent('.pane .log')))
  await everywhere(page, 'job-done')
  clean(page)
  await page.context().close()
})

test('a job that failed: why, its handler, again from what failed and from a task', async () => {
  const { id } = await start('breaks')
  await over(id)
  const page = await w.page({ width: 1400 })
  await page.goto(`${w.url}/jobs/${id}`)
  await until('four boxes', async () => Object.keys(await boxes(page)).length === 4)
  const at = await boxes(page)
  assert.equal(at.bad, 'error, exit 3')
  assert.equal(at.behind, 'skipped, bad failed')
  assert.match(at.on_error, /^done/)
  assert.match(await page.textContent('main .notice'), /task bad: exit/)
  await until('the log of what failed is shown', async () => /error: no <script>/.test(await page.textContent('.pane')))
  await everywhere(page, 'job-error')
  await page.setViewportSize({ width: 1400, height: 900 })
  await page.click('tbody a:has-text("on_error")')
  await until('the handler’s log', async () => /handled bad/.test(await page.textContent('.pane')))
  await page.click('text=From what failed')
  await until('a new job', () => /\/jobs\/[0-9a-f-]{36}$/.test(page.url()) && !page.url().endsWith(id))
  const again = await over(page.url().split('/').pop())
  assert.deepEqual([again.rerunOf, again.tasks.find(t => t.name === 'good').kept], [id, true])
  await until('it says so', async () => /^done .*, kept$/.test((await boxes(page)).good) && new RegExp(`It runs ${id.slice(0, 8)} again`).test(await page.textContent('main')))
  await page.click('tbody a:has-text("good")')
  await until('what is kept has its log', async () => /good/.test(await page.textContent('.pane .log')))
  await page.click('.pane >> text=From here')
  await until('a third job', () => /\/jobs\/[0-9a-f-]{36}$/.test(page.url()) && !page.url().includes(again.id))
  const third = await over(page.url().split('/').pop())
  assert.equal(third.tasks.find(t => t.name === 'good').kept, false)
  clean(page)
  await page.context().close()
})

test('a job that waits has a place that moves, and is canceled with a reason', async () => {
  const jobs = []
  for (const version of [1, 2, 3]) jobs.push(await start('release', { version, gate: gate('queue') }))
  await releaseTo(jobs[0].id, 'gate')
  const page = await w.page()
  await page.goto(`${w.url}/jobs/${jobs[2].id}`)
  await until('it is the second', async () => /Second in the queue/.test(await page.textContent('main .notice')))
  await everywhere(page, 'job-waiting')
  await page.setViewportSize({ width: 1280, height: 900 })
  await w.api('POST', `/api/v1/jobs/${jobs[1].id}/cancel`, {})
  await until('it is the first', async () => /First in the queue/.test(await page.textContent('main .notice')))
  await page.click('.head >> text=Cancel')
  await page.fill('dialog[open] input', `because of ${evil}`)
  await everywhere(page, 'job-cancel', { axe: 'dialog[open]' })
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.click('dialog[open] >> text=Cancel the job')
  await until('it says by whom and why', async () => (await page.textContent('main .notice')).includes(`because of ${evil}`) && /Canceled by ada/.test(await page.textContent('main .notice')))
  assert.match(await page.textContent('.head .st'), /canceled/)
  await writeFile(gate('queue'), '')
  await over(jobs[0].id)
  await page.goto(`${w.url}/jobs/00000000-0000-4000-8000-000000000000`)
  await page.waitForSelector('[role=alert]:has-text("Cannot show this job")')
  clean(page, /404/)
  await page.context().close()
})

test('names of strangers in a graph, a pipeline without tasks', async () => {
  const page = await w.page()
  for (const [name, count] of [[evil, 2], [rtl, 1]]) {
    const { id } = await start(name)
    await over(id)
    await page.goto(`${w.url}/jobs/${id}`)
    await until('its boxes', async () => Object.keys(await boxes(page)).length === count)
    await everywhere(page, `job-${count}`, { axe: count === 2 })
  }
  const { id } = await start('marks')
  await over(id)
  await page.goto(`${w.url}/jobs/${id}`)
  await page.waitForSelector('h2:has-text("This pipeline has no tasks")')
  await everywhere(page, 'job-nothing')
  clean(page)
  await page.context().close()
})

test('who may only look sees no button that acts, and a refusal is the server’s words', async () => {
  const { id } = await start('quick')
  await over(id)
  const page = await w.page({ scope: 'read' })
  await page.goto(w.url + '/jobs')
  await until('all are listed', async () => (await rows(page, 'Pipelines')).length === 7)
  assert.equal(await page.locator('button:has-text("Start")').count(), 0)
  await page.goto(`${w.url}/jobs/${id}`)
  await until('its log', async () => /quick/.test(await page.textContent('.pane')))
  assert.equal(await page.locator('main button:has-text("again"), main button:has-text("From here")').count(), 0)
  clean(page)
  await page.context().close()
  // Rights may go while a page is open.
  const other = await w.page()
  await other.route('**/rerun', r => r.fulfill({ status: 403, contentType: 'application/json', body: '{"error":"the token does not allow this: it needs scope jobs"}' }))
  await other.goto(`${w.url}/jobs/${id}`)
  await other.click('text=Run again')
  await until('the words', async () => /cannot run it again: the token does not allow this: it needs scope jobs/.test(await other.textContent('.foot')))
  clean(other, /403/)
  await other.context().close()
})
