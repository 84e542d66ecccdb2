// The views and their addresses. Those with a name stand in the head.
import { Run } from './run.js'

export const views = [
  { of: 'runs', path: /^\/runs\/(?<id>[^/]+)$/, view: Run, body: 'full', scope: 'read' },
]
