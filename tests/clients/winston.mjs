// Logs each line of a file through winston: node winston.mjs PORT FILE PAUSE_MS
import net from 'node:net'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'

// ES modules don't look at NODE_PATH; `require` does.
const winston = createRequire(import.meta.url)('winston')
const [port, file, pause] = process.argv.slice(2)
// Without `allowHalfOpen` Node closes its side as soon as the receiver says goodbye, and all later lines are lost.
const stream = net.connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true })
const logger = winston.createLogger({ transports: [new winston.transports.Stream({ stream, eol: '\n' })] })
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
  logger.info(line)
  if (pause !== '0') await setTimeout(Number(pause))
}
logger.on('finish', () => stream.end())
logger.end()
