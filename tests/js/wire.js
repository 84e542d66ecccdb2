// A client of Runnel, written from docs/wire.md.
import { createHash } from 'node:crypto';
import { headers } from '@nats-io/transport-node';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';

export const FINAL = ['COMPLETE', 'FAILED', 'ABORTED', 'TIMEDOUT'];

export const envelope = (spec, metadata) => ({ kind: 'runner', ...(metadata && { metadata }), spec });
export const base64 = (text) => Buffer.from(text).toString('base64');

// Refused is a reply that is an error.
export class Refused extends Error {
  constructor(reply) {
    super(reply.headers.get('Nats-Service-Error'));
    this.code = Number(reply.headers.get('Nats-Service-Error-Code'));
    this.reply = reply;
  }
}

// ask sends a body as it is and returns the reply, error or not.
export function ask(nc, subject, body, header = {}, timeout = 5000) {
  const h = headers();
  for (const [name, value] of Object.entries(header)) h.set(name, value);
  return nc.request(subject, typeof body === 'object' && !(body instanceof Uint8Array) ? JSON.stringify(body) : body, { headers: h, timeout });
}

export const isError = (reply) => Boolean(reply.headers?.get('Nats-Service-Error-Code'));

// call asks by JSON and returns the reply's object.
export async function call(nc, subject, spec, { metadata, header, timeout } = {}) {
  const reply = await ask(nc, subject, envelope(spec, metadata), header, timeout);
  if (isError(reply)) throw new Refused(reply);
  return reply.json();
}

export const start = async (nc, task, { id, subject = 'runner.task.any' } = {}) =>
  (await call(nc, subject, { task }, id && { metadata: { id } })).run;

// end waits for a run's final record.
export async function end(nc, id) {
  for (;;) {
    const { runs } = await call(nc, 'runner.query.any', { query: { runs: [id], states: FINAL, wait: '5s' } }, { timeout: 10000 });
    if (runs.length) return runs[0];
  }
}

// records are those of a message's body.
export const records = (body) => Buffer.from(body).toString().split('\n').filter((line) => line).map((line) => JSON.parse(line));

// Log puts a run's output together and checks it.
export class Log {
  next = 1; lines = 0; bytes = 0; dropped = 0; droppedBytes = 0;
  hash = createHash('sha256');
  open = { stdout: 0, stderr: 0 };
  text = { stdout: [], stderr: [] };
  end = null;

  add(r) {
    if (this.end) throw new Error('a record follows EOF');
    if (r.messages) {
      r.messages.forEach((message, i) => this.add({ ...r, messages: undefined, message, pos: r.pos + i }));
      return;
    }
    if (r.tag === 'EOF') {
      this.expect(r.pos, this.next);
      const sums = { lines: this.lines, bytes: this.bytes, dropped: this.dropped, droppedBytes: this.droppedBytes, sha256: this.hash.digest('hex') };
      for (const [name, sum] of Object.entries(sums)) {
        if ((r[name] ?? 0) !== sum) throw new Error(`EOF tells ${name} ${r[name]}, the records give ${sum}`);
      }
      this.end = r;
      return;
    }
    if (r.tag === 'GAP') {
      this.expect(r.pos, this.next);
      this.next += r.lines;
      this.dropped += r.lines;
      this.droppedBytes += r.bytes;
      this.open = { stdout: 0, stderr: 0 };
      return;
    }
    const stream = r.stream ?? 'stdout';
    if (this.open[stream]) {
      this.expect(r.pos, this.open[stream]);
    } else {
      this.expect(r.pos, this.next++);
      this.lines++;
    }
    this.open[stream] = r.tag === 'BOL' ? r.pos : 0;
    this.put(stream, r.raw !== undefined ? Buffer.from(r.raw, 'base64') : Buffer.from(r.message));
    if (r.tag !== 'BOL') this.put(stream, Buffer.from('\n'));
  }

  put(stream, bytes) {
    this.text[stream].push(bytes);
    this.hash.update(bytes);
    this.bytes += bytes.length;
  }

  expect(got, want) {
    if (got !== want) throw new Error(`line ${got} comes where ${want} should`);
  }

  stdout() { return Buffer.concat(this.text.stdout); }
  stderr() { return Buffer.concat(this.text.stderr); }
}

// replay reads a run's log from the stream, waiting for what is still to come,
// and returns it checked, with its bodies as they came.
export async function replay(nc, run) {
  const log = new Log();
  const bodies = [];
  const consumer = await jetstream(nc).consumers.get(run.logStream, { filter_subjects: run.logSubject });
  const messages = await consumer.consume();
  for await (const m of messages) {
    const seq = Number(m.headers.get('Runner-Seq'));
    if (seq !== bodies.length + 1) throw new Error(`message ${seq} comes after message ${bodies.length}`);
    bodies.push(Buffer.from(m.data).toString());
    for (const r of records(m.data)) log.add(r);
    if (log.end) break;
  }
  await messages.close();
  await (await jetstreamManager(nc)).consumers.delete(run.logStream, (await consumer.info(true)).name).catch(() => {});
  return { log, bodies };
}

// follow subscribes to a run that is about to be started: call it, start the
// run, then await done. each is told of every record with the time it came.
export async function follow(nc, id, each = () => {}) {
  const log = new Log();
  const bodies = [];
  const sub = nc.subscribe(`runner.log.*.${id}`);
  await nc.flush();
  const done = (async () => {
    for await (const m of sub) {
      const seq = Number(m.headers.get('Runner-Seq'));
      if (seq <= bodies.length) continue; // published again
      if (seq > bodies.length + 1) throw new Error(`message ${bodies.length + 1} is missing`);
      bodies.push(Buffer.from(m.data).toString());
      for (const r of records(m.data)) {
        log.add(r);
        each(r);
      }
      if (log.end) break;
    }
    return { log, bodies };
  })();
  return { done };
}
