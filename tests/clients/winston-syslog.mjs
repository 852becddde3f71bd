// Logs each line of a file through winston-syslog: node winston-syslog.mjs PORT FILE udp4|tcp4 BSD|RFC5424 [endless]
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'

// ES modules don't look at NODE_PATH; `require` does.
const require = createRequire(import.meta.url)
const winston = require('winston')
const { Syslog } = require('winston-syslog')
const [port, file, protocol, type, kind] = process.argv.slice(2)
// Over TCP nothing ends a message unless `eol` does.
const eol = kind === 'endless' ? undefined : '\n'
const options = { host: '127.0.0.1', port: Number(port), protocol, type, eol, localhost: 'gw-7', app_name: 'shop', pid: 7 }
const transport = new Syslog(options)
const format = winston.format.printf((info) => info.message)
const logger = winston.createLogger({ levels: winston.config.syslog.levels, format, transports: [transport] })
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
  logger.notice(line)
  await setImmediate()
}
// What was logged before it had connected waits in it.
while (!transport.connected || transport.queue.length > 0) await setImmediate()
await setImmediate()
// Its own `close` waits for seconds, and whenever its connection ends it connects again.
if (protocol === 'tcp4') transport.socket.end(() => process.exit())
else transport.socket.close()
