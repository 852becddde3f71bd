// Logs each line of a file through syslog-client: node syslog-client.mjs PORT FILE Tcp|Udp rfc3164|rfc5424
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'

// ES modules don't look at NODE_PATH; `require` does.
const syslog = createRequire(import.meta.url)('syslog-client')
const [port, file, transport, form] = process.argv.slice(2)
const client = syslog.createClient('127.0.0.1', {
  port: Number(port),
  transport: syslog.Transport[transport],
  syslogHostname: 'gw-7',
  appName: 'shop',
  facility: syslog.Facility.Local0,
  severity: syslog.Severity.Notice,
  rfc3164: form === 'rfc3164',
})
client.on('error', (error) => {
  throw error
})
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
  await new Promise((resolve, reject) => client.log(line, (error) => (error ? reject(error) : resolve())))
}
client.close()
