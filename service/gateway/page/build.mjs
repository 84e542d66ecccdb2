// Builds src into dist: node build.mjs. With --check it fails if dist is not what src gives.
import { build } from 'esbuild'
import { createHash } from 'node:crypto'
import { mkdtemp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'

process.chdir(import.meta.dirname)
const check = process.argv.includes('--check')
const out = check ? await mkdtemp(join(tmpdir(), 'runnel-page-')) : 'dist'

const options = {
  absWorkingDir: import.meta.dirname, bundle: true, minify: true, target: 'es2022', legalComments: 'none', charset: 'utf8',
  entryNames: '[name]-[hash]', chunkNames: '[name]-[hash]', outdir: out, metafile: true,
}

// name of the output whose entry point is file
const outputOf = (result, file) =>
  Object.entries(result.metafile.outputs).find(([, o]) => o.entryPoint === file)[0].split('/').pop()

// licenses of all packages of which something is in the outputs
async function licenses(results) {
  const names = new Set()
  for (const r of results) {
    for (const path of Object.keys(r.metafile.inputs)) {
      const m = path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)
      if (m) names.add(m[1])
    }
  }
  let text = ''
  for (const name of [...names].sort()) {
    const dir = join('node_modules', name)
    const { version, license } = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8'))
    const file = (await readdir(dir)).find(f => /^licen[sc]e/i.test(f))
    text += `${name} ${version}, ${license}\n\n${file ? (await readFile(join(dir, file), 'utf8')).trim() : ''}\n\n\n`
  }
  return text.trimEnd() + '\n'
}

await rm(out, { recursive: true, force: true })
await mkdir(out, { recursive: true })
const worker = await build({ ...options, entryPoints: ['src/worker.js'], format: 'iife' })
const app = await build({
  ...options, entryPoints: ['src/app.js', 'src/page.css'], format: 'esm', splitting: true,
  define: { WORKER: JSON.stringify('/assets/' + outputOf(worker, 'src/worker.js')) },
})
let html = await readFile('src/index.html', 'utf8')
html = html.replace('SCRIPT', '/assets/' + outputOf(app, 'src/app.js')).replace('STYLE', '/assets/' + outputOf(app, 'src/page.css'))
await writeFile(join(out, 'index.html'), html)
await writeFile(join(out, 'icon.svg'), await readFile('src/icon.svg'))
await writeFile(join(out, 'LICENSES.txt'), await licenses([worker, app]))

const brotli = text => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })
for (const name of await readdir(out)) {
  if (/\.(js|css)$/.test(name)) await writeFile(join(out, name + '.br'), brotli(await readFile(join(out, name))))
}

// Brotli's own versions may differ: what is compared is what comes out.
async function sums(dir) {
  const list = []
  for (const name of (await readdir(dir)).sort()) {
    let body = await readFile(join(dir, name))
    if (name.endsWith('.br')) body = brotliDecompressSync(body)
    list.push(name + ' ' + createHash('sha256').update(body).digest('hex'))
  }
  return list.join('\n')
}
if (check) {
  const same = await sums(out) === await sums('dist')
  await rm(out, { recursive: true })
  if (!same) {
    console.error('service/gateway/page/dist is stale: run npm run build in service/gateway/page and commit what it writes')
    process.exit(1)
  }
}
