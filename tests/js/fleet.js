// The fleet that the tests ask: tests/jsrunner, a real server with the runners
// web1 (pool web, label env=prod) and db1 (pool db, label env=test).
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { connect, nkeyAuthenticator } from '@nats-io/transport-node';

// open starts a fleet for the tests of one file and connects to it.
export async function open() {
  const built = process.env.RUNNEL_JSRUNNER;
  const child = built
    ? spawn(built, { stdio: ['pipe', 'pipe', 'inherit'] })
    : spawn('go', ['run', '../jsrunner'], { cwd: import.meta.dirname, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const line = await Promise.race([
    new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve)),
    ended.then((code) => { throw new Error(`jsrunner ended with ${code}`); }),
  ]);
  const { url, seed, http, token } = JSON.parse(line);
  const nc = await connect({ servers: url, authenticator: nkeyAuthenticator(new TextEncoder().encode(readFileSync(seed, 'utf8').trim())) });
  after(async () => {
    await nc.close();
    child.stdin.end();
    await ended;
  });
  web.http = http;
  web.token = token;
  return nc;
}

// web is where the fleet's gateway is, once it is open, and a token for it.
export const web = {};
