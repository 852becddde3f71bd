// Logs each line of a file through pino with pino-socket as its transport: node pino.mjs PORT FILE PAUSE_MS
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'

// ES modules don't look at NODE_PATH; `require` does. The transport's thread loads it by its whole path.
const require = createRequire(import.meta.url)
const pino = require('pino')
const [port, file, pause] = process.argv.slice(2)
// Without `reconnect` pino-socket sends nothing more once the receiver has said goodbye; with `recovery` it keeps what
// is logged until it has connected again.
const options = { mode: 'tcp', address: '127.0.0.1', port: Number(port), reconnect: true, recovery: true }
const transport = pino.transport({ target: require.resolve('pino-socket'), options })
const logger = pino(transport)
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
  logger.info(line)
  if (pause !== '0') await setTimeout(Number(pause))
}
transport.end()
