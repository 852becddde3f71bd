// Sends each line of a file over TLS: node tls.mjs PORT FILE CA CERT KEY
import tls from 'node:tls'
import { readFileSync } from 'node:fs'

const [port, file, ca, cert, key] = process.argv.slice(2)
const [caText, certText, keyText] = [ca, cert, key].map((path) => readFileSync(path))
const options = { host: '127.0.0.1', port: Number(port), servername: 'localhost', ca: caText, cert: certText, key: keyText }
// Without `allowHalfOpen` Node closes its side as soon as the receiver says goodbye.
const socket = tls.connect({ ...options, allowHalfOpen: true })
for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) socket.write(`${line}\n`)
socket.end()
