// Whether the page hears from the gateway: live, connecting, cut, back.
import { signal } from '@preact/signals'

export const link = signal({ state: 'connecting', since: 0, next: 0, gone: 0 })
