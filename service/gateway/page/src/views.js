// The views and their addresses. Those with a name stand in the head.
import { Run } from './run.js'
import { Runs } from './runs.js'
import { Fleet } from './fleet.js'
import { Runner } from './runner.js'
import { New } from './new.js'
import { Fanout } from './fanout.js'
import { Pipelines } from './pipelines.js'
import { Job } from './job.js'
import { Queue } from './queue.js'
import { Playground } from './play.js'

export const views = [
  { of: 'fleet', name: 'Fleet', href: '/fleet', path: /^\/fleet$/, view: Fleet, body: 'list', scope: 'read' },
  { of: 'fleet', path: /^\/fleet\/(?<name>[^/]+)$/, view: Runner, body: 'list', scope: 'read' },
  { of: 'runs', name: 'Runs', href: '/runs', path: /^\/runs$/, view: Runs, body: 'list', scope: 'read' },
  { of: 'runs', path: /^\/runs\/(?<id>[^/]+)$/, view: Run, body: 'full', scope: 'read' },
  { of: 'runs', path: /^\/fanout\/(?<id>[^/]+)$/, view: Fanout, body: 'full', scope: 'read' },
  { of: 'jobs', name: 'Pipelines', href: '/jobs', path: /^\/jobs$/, view: Pipelines, body: 'list', scope: 'read' },
  { of: 'jobs', path: /^\/jobs\/(?<id>[^/]+)$/, view: Job, body: 'full', scope: 'read' },
  { of: 'queue', name: 'Queue', href: '/queue', path: /^\/queue$/, view: Queue, body: 'list', scope: 'read' },
  { of: 'play', name: 'Playground', href: '/play', path: /^\/play$/, view: Playground, scope: 'code' },
  { of: 'new', path: /^\/new$/, view: New, scope: 'run' },
]
