// Sends each line of a file: node net.mjs PORT FILE PAUSE_MS [plain]
import net from 'node:net'
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'

const [port, file, pause, kind] = process.argv.slice(2)
// Without `allowHalfOpen` Node closes its side as soon as the receiver says goodbye, and all later lines are lost.
const socket = net.connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: kind !== 'plain' })
if (kind === 'plain') socket.on('error', () => {})
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
  socket.write(`${line}\n`)
  if (pause !== '0') await setTimeout(Number(pause))
}
socket.end()
