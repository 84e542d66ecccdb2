// What a browser has and the page's modules look for when they are loaded. No timer holds a test.
const interval = globalThis.setInterval
globalThis.setInterval = (...args) => interval(...args).unref()
globalThis.location = new URL('http://gateway.test/runs')
globalThis.history = { pushState() {}, replaceState() {} }
globalThis.addEventListener = () => {}
globalThis.document = { addEventListener() {}, documentElement: { dataset: {} }, hidden: false }
globalThis.WORKER = '/assets/worker.js'

// ports has what the page has asked of its worker, and speaks for it.
export const ports = []
globalThis.SharedWorker = class {
  constructor() {
    this.port = { sent: [], start() {}, postMessage(m) { this.sent.push(structuredClone(m)) } }
    ports.push(this.port)
  }
}
export const say = message => ports[0].onmessage({ data: message })
