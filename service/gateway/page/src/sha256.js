// SHA-256 of what comes piece by piece: the browser's own wants all at once.
const K = new Int32Array(64)
const H0 = new Int32Array(8)
{
  const frac = x => ((x - Math.floor(x)) * 2 ** 32) | 0
  let n = 0
  for (let p = 2; n < 64; p++) {
    let prime = true
    for (let d = 2; d * d <= p; d++) if (p % d === 0) { prime = false; break }
    if (!prime) continue
    if (n < 8) H0[n] = frac(Math.sqrt(p))
    K[n++] = frac(Math.cbrt(p))
  }
}

export class SHA256 {
  constructor() {
    this.h = Int32Array.from(H0)
    this.w = new Int32Array(64)
    this.block = new Uint8Array(64)
    this.held = 0
    this.bytes = 0
  }

  update(data) {
    this.bytes += data.length
    let at = 0
    if (this.held) {
      const n = Math.min(64 - this.held, data.length)
      this.block.set(data.subarray(0, n), this.held)
      this.held += n
      at = n
      if (this.held < 64) return this
      this.take(this.block, 0)
      this.held = 0
    }
    for (; at + 64 <= data.length; at += 64) this.take(data, at)
    this.block.set(data.subarray(at), 0)
    this.held = data.length - at
    return this
  }

  take(b, at) {
    const w = this.w, h = this.h
    for (let i = 0; i < 16; i++, at += 4) w[i] = (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2]
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0
    }
    let [a, b2, c, d, e, f, g, k] = h
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
      const t1 = (k + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
      const t2 = (s0 + ((a & b2) ^ (a & c) ^ (b2 & c))) | 0
      k = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b2; b2 = a; a = (t1 + t2) | 0
    }
    h[0] += a; h[1] += b2; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += k
  }

  // hex ends it: nothing more can come.
  hex() {
    const bytes = this.bytes, bits = bytes * 8
    const pad = new Uint8Array(((this.held + 9 + 63) & ~63) - this.held)
    pad[0] = 0x80
    const view = new DataView(pad.buffer)
    view.setUint32(pad.length - 8, Math.floor(bits / 2 ** 32))
    view.setUint32(pad.length - 4, bits >>> 0)
    this.update(pad)
    this.bytes = bytes
    return Array.from(this.h, x => (x >>> 0).toString(16).padStart(8, '0')).join('')
  }
}
