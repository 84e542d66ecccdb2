// The description of the gateway's routes, held against the schema of OpenAPI
// itself by a validator that is not ours.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { open, web } from './fleet.js';

await open();
const get = (path) => fetch(web.http + path, { headers: { Authorization: `Bearer ${web.token}` } });

test('openapi.json is valid OpenAPI 3.1', async () => {
  const response = await get('/openapi.json');
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'application/json');
  const document = await response.json();
  const validator = new Validator();
  const { valid, errors } = await validator.validate(document);
  assert.ok(valid, JSON.stringify(errors, null, 1));
  assert.equal(validator.version, '3.1');
  assert.ok(Object.keys(document.paths).length > 40 && document.paths['/mcp'].post);
  const names = Object.values(document.paths).flatMap((item) => Object.values(item).map((operation) => operation.operationId));
  assert.equal(new Set(names).size, names.length, 'each operation has a name of its own');
});

test('a broken description is not', async () => {
  const document = await (await get('/openapi.json')).json();
  document.paths['/mcp'].post.responses = 5;
  assert.equal((await new Validator().validate(document)).valid, false);
});
