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
  assert.equal(await page.getAttribute('.find input', 'placeholder'), 'Find in 8 lines')
  await everywhere(page, 'run')
  clean(page)
  await page.context().close()
})

// Each kind of colour and style, by what the browser computes under the strict policy, in both schemes.
test('each kind of ANSI colour and style is what the browser computes', async () => {
  const kinds = []
  for (const n of [0, 1, 2, 3, 4, 5, 6, 7]) kinds.push([`3${n}`, { fg: n }], [`4${n}`, { bg: n }], [`9${n}`, { fg: n + 8 }], [`10${n}`, { bg: n + 8 }])
  kinds.push(
    ['38;5;1', { fg: 1 }], ['38;5;12', { fg: 12 }], ['48;5;10', { bg: 10 }],
    ['38;5;196', { fg: '#ff0000' }], ['38;5;21', { fg: '#0000ff' }], ['38;5;244', { fg: '#808080' }], ['48;5;214', { bg: '#ffaf00' }], ['48;5;235', { bg: '#262626' }],
    ['38;2;10;120;30', { fg: '#0a781e' }], ['48;2;20;80;200', { bg: '#1450c8' }], ['38:2::200:10:10', { fg: '#c80a0a' }], ['38:2:200:10:10', { fg: '#c80a0a' }], ['48:5:214', { bg: '#ffaf00' }],
    ['38;2;0;0;0;48;2;255;255;255', { bg: '#ffffff' }], ['7;38;5;196', { bg: '#ff0000' }], ['7', { bg: 'ink' }], ['31;7', { bg: 1 }], ['7;27;31', { fg: 1 }], ['31;39', {}], ['41;49', {}], ['1;31;0', {}],
    ['1', { fontWeight: '700' }], ['1;22', {}], ['3', { fontStyle: 'italic' }], ['3;23', {}], ['4', { textDecorationLine: 'underline' }], ['4:3', { textDecorationLine: 'underline' }], ['4;24', {}], ['9', { textDecorationLine: 'line-through' }],
    ['4;9', { textDecorationLine: 'underline line-through' }], ['2', { dim: true }], ['8', { visibility: 'hidden' }], ['8;28', {}], ['58;5;1;32', { fg: 2 }], ['58:2::1:2:3;1', { fontWeight: '700' }],
  )
  const script = kinds.map(([code], i) => `\\033[${code}mkind ${i}\\033[0m\\n`).join('')
  const id = await w.run(['bash', '-c', `printf '${script}'`])
  await w.ended(id)
  const page = await w.page({ height: 3000 })
  const res = await page.goto(`${w.url}/runs/${id}`)
  assert.doesNotMatch(res.headers()['content-security-policy'], /unsafe/)
  await until('all lines are there', () => page.evaluate(n => document.querySelectorAll('.log .ln code').length === n, kinds.length))
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme })
    const bad = await page.evaluate(kinds => {
      const probe = document.createElement('i')
      document.querySelector('.log').append(probe)
      const computed = css => { probe.style.color = css; return getComputedStyle(probe).color }
      const parts = c => c.match(/[\d.]+/g).map(Number)
      const light = c => parts(c).slice(0, 3).reduce((s, v, i) => s + [.2126, .7152, .0722][i] * ((v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4), 0)
      const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05) }
      const well = computed('var(--well)'), ink = getComputedStyle(document.querySelector('.log')).color
      const usual = { fontWeight: '400', fontStyle: 'normal', textDecorationLine: 'none', visibility: 'visible' }
      const bad = []
      kinds.forEach(([code, { fg, bg, dim, ...styles }], i) => {
        const c = document.querySelector(`#L${i + 1} code`), s = getComputedStyle(c.firstElementChild || c)
        const say = (what, got, want) => { if (got !== want) bad.push(`${code}: ${what} is ${got}, not ${want}`) }
        const ground = parts(s.backgroundColor)[3] === 0 ? well : s.backgroundColor
        if (c.textContent !== 'kind ' + i) bad.push(`${code}: the text is ${c.textContent}`)
        for (const [k, v] of Object.entries({ ...usual, ...styles })) say(k, s[k], v)
        if (typeof bg === 'number') say('the ground', s.backgroundColor, computed(`var(--a${bg})`))
        else if (bg) say('the ground', s.backgroundColor, computed(bg === 'ink' ? 'var(--ink)' : bg))
        else say('the ground', ground, well)
        if (typeof fg === 'number') say('the colour', s.color, computed(`var(--a${fg})`))
        else if (fg && contrast(computed(fg), well) >= 4.5) say('the colour', s.color, computed(fg))
        else if (fg) { if (s.color === ink) bad.push(`${code}: it has no colour`) } else if (bg === undefined && !dim) say('the colour', s.color, ink)
        if (dim && s.color === ink) bad.push(`${code}: it is not dim`)
        const seen = contrast(s.color, ground)
        if (seen < 4.45) bad.push(`${code}: contrast ${seen.toFixed(2)}`)
      })
      probe.remove()
      return bad
    }, kinds)
    assert.deepEqual(bad, [], scheme)
  }
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

// till waits in the page itself, frame by frame, and gives the milliseconds that it took.
const till = (page, begin, done, arg) => page.evaluate(([begin, done, arg]) => new Promise((good, bad) => {
  const f = new Function('arg', 'return ' + done), began = performance.now()
  new Function('arg', begin)(arg)
  const look = () => {
    if (f(arg)) good(performance.now() - began)
    else if (performance.now() - began > 300e3) bad(new Error('waited in vain for ' + done))
    else requestAnimationFrame(look)
  }
  look()
}), [begin, done, arg])

// watchTasks has the page remember its longest task from now on.
const watchTasks = page => page.evaluate(() => {
  window.longest = 0
  new PerformanceObserver(l => { for (const e of l.getEntries()) window.longest = Math.max(window.longest, e.duration) }).observe({ type: 'longtask' })
})
const heapOf = async page => {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('HeapProfiler.collectGarbage')
  await cdp.send('Performance.enable')
  const { metrics } = await cdp.send('Performance.getMetrics')
  return metrics.find(m => m.name === 'JSHeapUsedSize').value
}
// within notes a figure. In long runs allWithin fails by those that are missed: seconds are for a
// quiet machine.
const missed = []
const within = (what, got, most, unit = 'ms') => {
  const text = `${what}: ${Math.round(got * 10) / 10} ${unit}, at most ${most}`
  console.log('# ' + text)
  if (!(got <= most)) missed.push(text)
}
const allWithin = () => { if (long) assert.deepEqual(missed.splice(0), []) }

test(`a log of ${long ? 'a million' : 'fifty thousand'} lines`, { timeout: 600000 }, async () => {
  const n = long ? 1000000 : 50000
  const words = i => String(i).padStart(94, '0') + ' text'
  const id = await w.run(['bash', '-c', `seq -f '%094.0f text' 1 ${n}`])
  await w.ended(id)
  const page = await w.page()
  await page.goto(w.url + '/runs')
  await page.waitForSelector('main tbody tr')
  const lineIs = 'document.querySelector("#L" + arg[0] + " code")?.textContent === arg[1]'
  await page.goto(`${w.url}/runs/${id}`, { waitUntil: 'commit' })
  await page.waitForFunction(([n, t]) => document.querySelector(`#L${n} code`)?.textContent === t, [n, words(n)], { polling: 'raf', timeout: 300000 })
  within('first lines seen', await page.evaluate(() => performance.now()), 1000)
  await watchTasks(page)
  const links = []
  for (const part of [.5, .013, .77, .251, .999]) {
    const at = Math.floor(n * part) + 7 > n ? n - 7 : Math.floor(n * part) + 7
    links.push(await till(page, 'location.hash = "#L" + arg[0]', lineIs, [at, words(at)]))
  }
  within('a line by link, the slowest of five', Math.max(...links), 300)
  await page.evaluate(async () => {
    const log = document.querySelector('.log')
    for (let i = 0; i < 120; i++) { log.scrollTop += 300; await new Promise(done => requestAnimationFrame(done)) }
    for (let i = 0; i < 40; i++) { log.scrollTop = Math.random() * log.scrollHeight; await new Promise(done => requestAnimationFrame(done)) }
  })
  await until('what is seen has come', () => page.evaluate(() => !document.querySelector('.ln.soon')))
  const rows = await page.evaluate(() => [...document.querySelectorAll('.ln')].map(l => [Number(l.id.slice(1)), l.querySelector('code').textContent]))
  for (const [no, t] of rows) assert.equal(t, words(no))
  assert.ok(rows.length < 200, `${rows.length} rows exist`)
  within('the longest task', await page.evaluate(() => window.longest), 50)
  await page.focus('.find input')
  await page.evaluate(() => {
    window.said = new Set()
    new MutationObserver(() => { window.said.add(document.querySelector('.find output').textContent) }).observe(document.querySelector('.find output'), { childList: true, subtree: true, characterData: true })
  })
  const needle = words(n - 3).slice(80)
  const took = await till(page, 'const i = document.querySelector(".find input"); i.value = arg; i.dispatchEvent(new Event("input", { bubbles: true }))', '/^1 of 1$/.test(document.querySelector(".find output").textContent)', needle)
  within('a search through all', took, 2000)
  if (long) assert.ok(await page.evaluate(() => [...window.said].some(t => /%/.test(t))), 'the search shows no progress')
  await page.waitForFunction(([n, t]) => document.querySelector(`#L${n} mark.cur`)?.textContent === t, [n - 3, needle])
  within('the heap', await heapOf(page) / 1e6, 150, 'MB')
  allWithin()
  clean(page)
  await page.context().close()
})

test(`${long ? 'fifty thousand' : 'some thousand'} lines a second: the tab stays usable, the end is exact`, { timeout: 600000 }, async () => {
  const [steps, each] = long ? [200, 5000] : [40, 500]
  const id = await w.run(['bash', '-c', `i=0; while [ $i -lt ${steps} ]; do seq -f '%094.0f live' $((i * ${each} + 1)) $(((i + 1) * ${each})); i=$((i + 1)); sleep .${long ? '08' : '1'}; done`])
  const page = await w.page()
  await page.goto(`${w.url}/runs/${id}`)
  await page.waitForSelector('.log .ln code')
  await watchTasks(page)
  // A click is answered while lines pour in: follow is let go, a line far above is shown, and it follows again.
  const pill = what => `/${what}/.test(document.querySelector(".pill")?.innerText || "Following")`
  let slowest = 0
  for (let i = 0; i < 5; i++) {
    slowest = Math.max(slowest, await till(page, 'document.querySelector("[data-key=g]").click()', 'document.querySelector("#L1 code") && document.querySelector(".ln")?.id === "L1"', null))
    slowest = Math.max(slowest, await till(page, 'document.querySelector("[data-key=G]").click()', pill('Following'), null))
    await page.waitForTimeout(long ? 1000 : 100)
  }
  within('a click while lines pour in', slowest, 300)
  const run = await w.ended(id)
  console.log(`# ${steps * each} lines in ${(new Date(run.ended) - new Date(run.started)) / 1000} s`)
  const last = String(steps * each).padStart(94, '0') + ' live'
  await until('the last line is seen', async () => await lineText(page, steps * each) === last)
  await until('it is verified', async () => {
    const verify = page.locator('.sum button:has-text("Verify")') // so much is read for it only when asked
    if (await verify.count()) await verify.click()
    return /COMPLETE.*sha256 verified/.test(await sum(page))
  }, 120)
  within('the longest task', await page.evaluate(() => window.longest), 200)
  within('the heap', await heapOf(page) / 1e6, 150, 'MB')
  allWithin()
  clean(page)
  await page.context().close()
})
