// Signing in, by link and by token; signing out; what a token forbids.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { World, clean, until } from './world.js'
import { everywhere } from './checks.js'

let w
before(async () => { w = await World.open() })
after(() => w?.close())

test('the view says how to sign in, a bad token gets the words of the server, a good one lets in', async () => {
  const id = await w.run(['echo', 'hello'])
  await w.ended(id)
  const page = await w.page({ signedIn: false })
  await page.goto(`${w.url}/runs/${id}`)
  await page.waitForSelector('h1:has-text("Sign in to Runnel")')
  assert.match(await page.textContent('.foot'), /Signed out: no token found/)
  await everywhere(page, 'signin')
  await page.click('text=Or paste a token')
  await page.keyboard.type('nonsense')
  await page.keyboard.press('Enter')
  await until('it is refused', async () => (await page.textContent('#tokproblem')) === 'token is unauthorized')
  await page.fill('#tok', await w.token('read'))
  await page.keyboard.press('Enter')
  // Back where one was.
  await until('the log is there', async () => (await page.textContent('.log')).includes('hello'))
  assert.equal(new URL(page.url()).pathname, '/runs/' + id)
  assert.equal(await page.locator('text=Run again').count(), 0) // scope read
  const cookies = await page.context().cookies()
  assert.ok(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite !== 'None', JSON.stringify(cookies))
  await page.click('.who')
  await page.waitForSelector('text=you signed out')
  await page.reload()
  await page.waitForSelector('h1:has-text("Sign in to Runnel")')
  clean(page, /401/)
  await page.context().close()
})

test('a link lets in once', async () => {
  const link = (await w.cli('gateway', 'link')).match(/http\S+/)[0].replace(/^http:\/\/[^/]+/, w.url)
  const page = await w.page({ signedIn: false })
  await page.goto(link)
  await until('somebody is signed in', async () => await page.locator('.who').count() === 1)
  assert.equal(new URL(page.url()).search, '')
  const other = await w.page({ signedIn: false })
  await other.goto(link)
  await other.waitForSelector('text=This link does not work any more')
  clean(other, /401/)
  clean(page)
})
