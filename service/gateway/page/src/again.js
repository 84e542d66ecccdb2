// What is asked for, and what came of it.
import { tell } from './ui.js'

export async function act(what, f, after) {
  try { tell(await f() || what) } catch (err) { tell(`cannot ${what}: ${err.message}`) }
  after?.()
}
