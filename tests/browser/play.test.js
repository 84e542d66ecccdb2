// The playground: programs in the fleet's languages, what they print as it comes, how they end.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { World, clean, until } from './world.js'
import { everywhere } from './checks.js'

const evil = '<script>alert(1)</script>'
let w, languages
before(async () => {
  w = await World.open()
  languages = await until('the runner has looked for languages', async () => {
    const cards = (await w.api('GET', '/api/v1/runners')).runners.map(r => r.card)
    const names = cards.flatMap(c => c.languages || []).map(l => l.split(' ')[0])
    return names.includes('bash') && names.includes('c') && names
  }, 180)
})
after(async () => { await w?.close() })

const open = async (page, path = '/play') => {
  await page.goto(w.url + path)
  await page.waitForSelector('.cm-content')
}
// write puts a program into the editor as somebody would type it.
const write = async (page, text) => {
  await page.waitForSelector('.cm-content')
  await page.click('.cm-content')
  await page.keyboard.press('Control+A')
  await page.keyboard.press('Delete')
  await page.keyboard.insertText(text)
}
const choose = async (page, language) => {
  await page.selectOption('#lang', language)
  await page.waitForSelector('.cm-content')
}
const verdict = page => page.textContent('.verdict')
const output = page => page.evaluate(() => [...document.querySelectorAll('[aria-label=Output] .ln code')].map(c => c.textContent))
const ends = (page, words) => until(`it ends with ${words}`, async () => words.test(await verdict(page)))
// apart is what the page writes as two texts.
const compiler = page => page.evaluate(() => [...document.querySelectorAll('[aria-label="What the compiler says"] .ln code')].map(c => c.textContent).join('\n'))

test('a program runs: what it reads, its arguments, what it prints, how it ended', async () => {
  const page = await w.page()
  await open(page)
  assert.match(await page.textContent('section[aria-label=Result]'), /Nothing has run yet/)
  await everywhere(page, 'play-empty')
  await page.setViewportSize({ width: 1280, height: 900 })
  await choose(page, 'bash')
  await write(page, String.raw`read -r name
echo "hello $name, $# arguments, $2"
printf '\033[31mred\033[0m ${evil} مهمة\n' >&2
# a comment
exit 3`)
  const colour = await page.evaluate(() => getComputedStyle([...document.querySelectorAll('.cm-line span')].find(s => s.textContent.includes('comment'))).color)
  assert.notEqual(colour, await page.evaluate(() => getComputedStyle(document.querySelector('.cm-content')).color))
  await page.fill('#stdin', 'Ada')
  await page.fill('#args', `one 'two words'`)
  await page.click('.btn.main')
  await ends(page, /Ended with exit 3/)
  await until('both lines', async () => (await output(page)).length === 2)
  assert.deepEqual((await output(page)).sort(), [`hello Ada, 2 arguments, two words`, `red ${evil} مهمة`].sort())
  assert.equal(await page.evaluate(() => getComputedStyle([...document.querySelectorAll('[aria-label=Output] span')].find(s => s.textContent === 'red')).color !== getComputedStyle(document.querySelector('[aria-label=Output] code')).color), true)
  assert.match(await page.textContent('.steps'), /run\s*exit 3\s*\d+\.\d\ds/)
  await everywhere(page, 'play-bash')
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.click('text=The run and its whole log')
  await until('the run', () => /\/runs\//.test(page.url()))
  await page.goBack()
  await until('what was written is still there', async () => /a comment/.test(await page.textContent('.cm-content')))
  clean(page)
  await page.context().close()
})

test('output comes as it is printed, and a program that goes on can be stopped', async () => {
  const page = await w.page()
  await open(page)
  await choose(page, 'bash')
  await write(page, 'echo first; sleep 600')
  await page.keyboard.press('Control+Enter')
  await until('the first line, while it runs', async () => (await output(page)).includes('first') && /Running/.test(await verdict(page)))
  assert.match(await page.textContent('.steps'), /running/)
  await everywhere(page, 'play-running')
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.click('text=Stop')
  await ends(page, /Stopped/)
  await page.fill('#time', '1s')
  await page.click('.btn.main')
  await ends(page, /Its time was over/)
  // A limit that makes no sense is refused in the server's words.
  await page.fill('#memory', 'lots')
  await page.click('.btn.main')
  await page.waitForSelector('[role=alert]:has-text("It was not started")')
  assert.match(await page.textContent('[role=alert]'), /memoryMax/)
  clean(page, /400/)
  await page.context().close()
})

test('compile and run are apart: their words, their times', async () => {
  const page = await w.page()
  await open(page)
  await choose(page, 'c')
  await until('its first program', async () => /stdio/.test(await page.textContent('.cm-content')))
  await write(page, '#include <stdio.h>\n#warning "look here"\nint main(void) { puts("built"); return 0; }')
  await page.click('.btn.main')
  await ends(page, /Ended well, exit 0/)
  await until('what both say', async () => (await output(page)).includes('built') && /look here/.test(await compiler(page)))
  assert.ok(!(await output(page)).some(l => /look here/.test(l)))
  assert.match(await page.textContent('.steps'), /compile\s*exit 0[\s\S]*run\s*exit 0/)
  await everywhere(page, 'play-c')
  await page.setViewportSize({ width: 1280, height: 900 })
  await write(page, 'int main(void) { return nothing; }')
  await page.click('.btn.main')
  await ends(page, /Not compiled, exit 1/)
  await until('the error', async () => /nothing/.test(await compiler(page)))
  assert.match(await page.textContent('.steps'), /compile\s*exit 1[\s\S]*run\s*skipped/)
  await everywhere(page, 'play-not-compiled')
  clean(page)
  await page.context().close()
})

test('several files, and a link that holds the program', async () => {
  const page = await w.page({ permissions: ['clipboard-read', 'clipboard-write'] })
  await open(page)
  await choose(page, 'bash')
  await write(page, 'cat data.txt "$1"')
  await page.click('button[aria-label="One more file"]')
  await page.fill('#fname', 'data.txt')
  await write(page, `in a file ${evil}\n`)
  await page.click('button[aria-label="One more file"]')
  await page.fill('#fname', 'مهمة.txt')
  await write(page, 'another\n')
  await page.fill('#args', 'مهمة.txt')
  await page.click('.btn.main')
  await ends(page, /Ended well/)
  await until('both files', async () => (await output(page)).join('\n') === `in a file ${evil}\nanother`)
  await everywhere(page, 'play-files')
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.click('button:has-text("Link")')
  await until('it is copied', async () => /is copied/.test(await page.textContent('.foot')))
  const where = await page.evaluate(() => navigator.clipboard.readText())
  assert.match(where, /\/play#p=[\w-]+$/)
  const other = await w.page({ sub: 'bob' })
  await other.goto(where)
  await until('the same program', async () => /cat data\.txt/.test(await other.textContent('.cm-content')) && await other.inputValue('#args') === 'مهمة.txt')
  assert.equal(await other.locator('.tabs .btn').count(), 4)
  await other.click('.tabs >> text=data.txt')
  await until('its file', async () => (await other.textContent('.cm-content')).includes(evil))
  await other.click('text=Remove it')
  await until('one less', async () => await other.locator('.tabs .btn').count() === 3 && new URL(other.url()).hash === '')
  await other.goto(where.slice(0, -9))
  await other.waitForSelector('[role=alert]:has-text("This link holds no program")')
  clean(page)
  clean(other)
  await page.context().close()
  await other.context().close()
})

test('endless output: the first lines are shown, the others counted', async () => {
  const page = await w.page()
  await open(page)
  await choose(page, 'bash')
  await write(page, 'seq 1 30000')
  await page.click('.btn.main')
  await ends(page, /Ended well/)
  await until('the rest is counted', async () => /29,000 more lines/.test(await page.textContent('section[aria-label=Result]')))
  await until('a thousand lines', async () => { const lines = await output(page); return lines.length === 1000 && lines[0] === '1' && lines[999] === '1000' })
  clean(page)
  await page.context().close()
})

test('each language of the fleet has a first program that runs, and colours', async () => {
  const page = await w.page()
  await open(page)
  await page.fill('#stdin', 'Ada')
  for (const language of languages.filter(l => ['bash', 'python3', 'node', 'c', 'perl', 'php', 'ruby', 'lua'].includes(l))) {
    await choose(page, language)
    const coloured = () => page.evaluate(() => [...document.querySelectorAll('.cm-line span')].some(s => getComputedStyle(s).color !== getComputedStyle(document.querySelector('.cm-content')).color))
    await until(`${language} has colours`, coloured)
    await page.click('.btn.main')
    await until(`${language} says hello`, async () => (await output(page))[0] === 'Hello, Ada' && /Ended well/.test(await verdict(page)), 180)
  }
  clean(page)
  await page.context().close()
})

test('who may not run code does not see it; who may do no more has no Stop', async () => {
  const page = await w.page({ scope: 'read' })
  await page.goto(w.url + '/play')
  await page.waitForSelector('h1:has-text("Your token does not allow this")')
  assert.equal(await page.locator('nav >> text=Playground').count(), 0)
  clean(page)
  await page.context().close()
  const other = await w.page({ scope: 'read,code' })
  await open(other)
  await choose(other, 'bash')
  await write(other, 'echo begun; sleep 2; echo over')
  await other.click('.btn.main')
  await until('it runs', async () => (await output(other)).includes('begun'))
  assert.equal(await other.locator('button:has-text("Stop")').count(), 0)
  await ends(other, /Ended well/)
  clean(other)
  await other.context().close()
})
