// A run's page: its log is whole, live, and can be trusted.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { World, clean, until, long } from './world.js'
import { everywhere } from './checks.js'

let w
before(async () => { w = await World.open() })
after(() => w?.close())

const text = page => page.evaluate(() => [...document.querySelectorAll('.log .ln')].map(l => l.querySelector('code')?.innerText.replace(/\n$/, '')))
const lineText = (page, n) => page.evaluate(n => document.querySelector(`#L${n} code`)?.textContent, n)
const sum = page => page.evaluate(() => document.querySelector('.sum').innerText.replace(/\s+/g, ' '))
const open = async (page, id, hash = '') => {
  await page.goto(`${w.url}/runs/${id}${hash}`)
  await page.waitForSelector('.log .ln code')
}

test('colours, carriage returns, streams and long lines are as a terminal shows them', async () => {
  const id = await w.run(['bash', '-c', String.raw`printf '\e[31mred\e[0m plain\n\e[1;38;5;208morange\e[0m\n\e[48;2;20;80;200mblue ground\e[0m\n'
    printf 'a 1%%\rb 22%%\rc 3%%\n'; echo '<script>alert(1)</script>'; printf '\033]0;title\007hidden title\n'; sleep .3; echo oops >&2; sleep .3; head -c 6000 /dev/zero | tr '\0' y; echo; exit 3`], { name: 'colours', tags: { job: 'nightly' } })
  await w.ended(id)
  const page = await w.page()
  await open(page, id)
  await until('the log is verified', async () => /sha256 verified/.test(await sum(page)))
  assert.deepEqual((await text(page)).slice(0, 7), ['red plain', 'orange', 'blue ground', 'c 3%%rewritten 2 times'.replace('%%', '%%'), '<script>alert(1)</script>', 'hidden title', 'oops'].map((s, i) => i === 3 ? 'c 3%%rewritten 2 times' : s))
  const colour = (n, what) => page.evaluate(([n, what]) => getComputedStyle(document.querySelector(`#L${n} code span`))[what], [n, what])
  assert.equal(await colour(1, 'color'), 'rgb(176, 36, 28)')
  assert.notEqual(await colour(2, 'color'), await page.evaluate(() => getComputedStyle(document.body).color))
  assert.equal(await colour(2, 'fontWeight'), '700')
  assert.equal(await colour(3, 'backgroundColor'), 'rgb(20, 80, 200)')
  assert.equal(await page.evaluate(() => document.querySelector('#L7').innerText.includes('err')), true)
  assert.match(await page.textContent('#L8'), /1\.9 kB more on this line, show/)
  await page.click('#L8 .cutline')
  await until('the whole line is there', async () => (await lineText(page, 8)).length === 6000)
  assert.match(await page.textContent('.head'), /COMPLETE, exit 3/)
  await everywhere(page, 'run')
  clean(page)
  await page.context().close()
})

test('a run is followed live, its hash is that of what is shown, and an aborted one says so', async () => {
  const id = await w.run(['bash', '-c', 'for i in $(seq 1 30); do echo "tick $i"; sleep .1; done; sleep 600'])
  const page = await w.page()
  await open(page, id)
  await until('the last line is seen', async () => (await text(page)).at(-1) === 'tick 30')
  assert.match(await page.textContent('.pill'), /Following/)
  assert.match(await sum(page), /RUNNING for \d+s 30 lines/)
  await page.click('text=Abort')
  await until('its end is told', async () => /ABORTED.*30 lines.*sha256 verified/.test(await sum(page)))
  clean(page)
  await page.context().close()
})

test('the place is held while lines come, and follow takes hold again', async () => {
  const id = await w.run(['bash', '-c', 'seq 1 400; for i in $(seq 401 100000); do echo $i; sleep .02; done'])
  const page = await w.page()
  await open(page, id)
  await until('many lines are there', () => page.evaluate(() => Number([...document.querySelectorAll('.ln')].at(-1)?.id.slice(1)) >= 410))
  await page.focus('.log')
  await page.keyboard.press('g')
  await until('the first line is seen', async () => await lineText(page, 1) === '1')
  const first = () => page.evaluate(() => { const t = document.querySelector('.log').getBoundingClientRect().top; return [...document.querySelectorAll('.ln')].find(l => l.getBoundingClientRect().bottom > t + 1).id })
  assert.equal(await first(), 'L1')
  await page.evaluate(() => { document.querySelector('.log').scrollTop = 2000 })
  await until('line 101 is first', async () => await first() === 'L101')
  await until('news is counted', async () => /[1-9]\d* new lines, follow/.test(await page.textContent('.pill')))
  assert.equal(await first(), 'L101')
  await page.keyboard.press('f')
  await until('it follows', async () => /Following/.test(await page.textContent('.pill')))
  const last = Number(await page.evaluate(() => [...document.querySelectorAll('.ln')].at(-1).id.slice(1)))
  assert.ok(last > 410, `${last}`)
  await w.api('POST', `/api/v1/runs/${id}/abort`)
  clean(page)
  await page.context().close()
})

test('a line by link, a range, and what the address says', async () => {
  const id = await w.run(['bash', '-c', 'seq 1 5000'])
  await w.ended(id)
  const page = await w.page()
  await open(page, id, '#L2500')
  await until('the line is marked', () => page.evaluate(() => document.querySelector('#L2500')?.classList.contains('at')))
  const inView = n => page.evaluate(n => { const r = document.querySelector('#L' + n).getBoundingClientRect(), q = document.querySelector('.log').getBoundingClientRect(); return r.top >= q.top && r.bottom <= q.bottom }, n)
  assert.ok(await inView(2500))
  assert.equal(await lineText(page, 2500), '2500')
  await page.click('#L2503 .g a', { modifiers: ['Shift'] })
  assert.equal(new URL(page.url()).hash, '#L2500-2503')
  assert.equal(await page.locator('.ln.at').count(), 4)
  await page.evaluate(() => { location.hash = '#L17' })
  await until('line 17 is seen', async () => await lineText(page, 17) === '17' && inView(17))
  await page.keyboard.press('G')
  await until('the last line is seen', async () => await lineText(page, 5000) === '5000')
  clean(page)
  await page.context().close()
})

test('the server goes away and comes back: the page says so, goes on, and lacks nothing', async () => {
  // A queue that outlives the gateway: the runner is the same process, so what is followed is a log
  // that is there already, by a gateway that is cut off for a while.
  const id = await w.run(['bash', '-c', 'seq 1 100; sleep 600'])
  const page = await w.page()
  await open(page, id)
  await until('it is live', async () => /Live/.test(await page.textContent('.foot')))
  await w.stop('SIGKILL')
  await until('cut off is said', async () => /Cut off since \d\d:\d\d:\d\d/.test(await page.textContent('.foot')))
  assert.equal(await lineText(page, 100), '100')
  assert.ok(await page.locator('button:has-text("Abort")').isDisabled())
  await w.start()
  await until('it goes on', async () => /Live|Back after/.test(await page.textContent('.foot')), 90)
  await until('the end is told', async () => /FAILED.*lost|ABORTED|COMPLETE/.test(await sum(page)), 180)
  clean(page, /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|503/)
  await page.context().close()
})

test(`a log of ${long ? 'a million' : 'fifty thousand'} lines`, { timeout: 600000 }, async () => {
  const n = long ? 1000000 : 50000
  const id = await w.run(['bash', '-c', `seq -f '%095.0f text' 1 ${n}`], { args: ['--quiet'].slice(1) })
  await w.ended(id)
  const page = await w.page()
  let began = Date.now()
  await page.goto(`${w.url}/runs/${id}`)
  await until('the last line is seen', async () => await lineText(page, n) === String(n).padStart(95, '0') + ' text')
  const opened = Date.now() - began
  const tasks = await page.evaluate(() => { window.longest = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) window.longest = Math.max(window.longest, e.duration) }).observe({ type: 'longtask' }); return 0 })
  began = Date.now()
  await page.evaluate(n => { location.hash = '#L' + n }, n / 2 + 7)
  await until('a line by link is seen', async () => await lineText(page, n / 2 + 7) === String(n / 2 + 7).padStart(95, '0') + ' text')
  const byLink = Date.now() - began
  await page.evaluate(async () => {
    const log = document.querySelector('.log')
    for (let i = 0; i < 120; i++) { log.scrollTop += 300; await new Promise(done => requestAnimationFrame(done)) }
    for (let i = 0; i < 40; i++) { log.scrollTop = Math.random() * log.scrollHeight; await new Promise(done => requestAnimationFrame(done)) }
  })
  await until('what is seen has come', () => page.evaluate(() => !document.querySelector('.ln.soon')))
  const rows = await page.evaluate(() => [...document.querySelectorAll('.ln')].map(l => [Number(l.id.slice(1)), l.querySelector('code').textContent]))
  for (const [no, t] of rows) assert.equal(t, String(no).padStart(95, '0') + ' text')
  assert.ok(rows.length < 200, `${rows.length} rows exist`)
  const longest = await page.evaluate(() => window.longest)
  const heap = await page.evaluate(() => performance.memory?.usedJSHeapSize || 0)
  console.log(`# ${n} lines: opened in ${opened} ms, a line by link in ${byLink} ms, longest task ${Math.round(longest)} ms, heap ${Math.round(heap / 1e6)} MB`)
  if (long) {
    assert.ok(opened < 1000 && byLink < 300, `opened in ${opened} ms, by link in ${byLink} ms`)
    assert.ok(heap < 150e6, `${heap} bytes of heap`)
  }
  clean(page)
  await page.context().close()
  assert.equal(tasks, 0)
})
