// A headless Chromium, driven by its DevTools protocol over two pipes: no WebSocket, no port, nothing to install.
// Everything that the browser complains about is kept in `complaints`.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const ANSWER_MS = 30_000
const ASK_AGAIN_MS = 50

const KEYS = {
  Tab: { code: 'Tab', windowsVirtualKeyCode: 9 },
  Enter: { code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' },
  ' ': { code: 'Space', windowsVirtualKeyCode: 32, text: ' ' },
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms))

/** Asks `question` until it answers with something true; after `ms` fails with `what` and the last answer. */
export async function eventually(what, question, ms = 10_000) {
  const deadline = Date.now() + ms
  for (;;) {
    const answer = await question()
    if (answer) return answer
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`)
    await pause(ASK_AGAIN_MS)
  }
}

export class Chromium {
  complaints = []
  #waiting = new Map()
  #listeners = new Map()
  #lastId = 0

  /** Starts the first Chromium that is there, or the one that `CHROMIUM` names; undefined if there is none. */
  static async start() {
    for (const name of process.env.CHROMIUM ? [process.env.CHROMIUM] : NAMES) {
      const browser = new Chromium()
      if (await browser.#spawn(name)) return browser
    }
    return undefined
  }

  #spawn(name) {
    this.profile = mkdtempSync(join(tmpdir(), 'lumberjack-page-'))
    // A container has no user namespaces for the sandbox, and a small /dev/shm.
    const options = [
      '--headless=new',
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--no-first-run',
      '--remote-debugging-pipe',
    ]
    this.process = spawn(name, [...options, `--user-data-dir=${this.profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    this.input = this.process.stdio[3]
    this.input.on('error', () => {}) // it is gone: whoever waits is told by `exit`
    let text = ''
    this.process.stdio[4].setEncoding('utf8').on('data', (chunk) => {
      const messages = (text + chunk).split('\0')
      text = messages.pop()
      messages.forEach((message) => this.#take(JSON.parse(message)))
    })
    return new Promise((done) => {
      this.process.on('spawn', () => done(true))
      this.process.on('error', () => {
        rmSync(this.profile, { recursive: true, force: true })
        done(false)
      })
      this.process.on('exit', (code) => {
        for (const { fail } of this.#waiting.values()) fail(new Error(`the browser ended with code ${code}`))
      })
    })
  }

  #take({ id, method, params, result, error }) {
    if (!id) return this.#listeners.get(method)?.(params)
    const { done, fail, what } = this.#waiting.get(id)
    this.#waiting.delete(id)
    error ? fail(new Error(`${what}: ${error.message}`)) : done(result)
  }

  on(method, listener) {
    this.#listeners.set(method, listener)
  }

  send(method, params = {}) {
    const id = ++this.#lastId
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`${method}: no answer from the browser`)), ANSWER_MS)
      const settle = (how) => (value) => (clearTimeout(timer), how(value))
      this.#waiting.set(id, { done: settle(done), fail: settle(fail), what: method })
      this.input.write(JSON.stringify({ id, method, params, sessionId: this.sessionId }) + '\0')
    })
  }

  /** Opens a tab, and listens to what it complains of from its first byte on. */
  async open(url) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    this.sessionId = sessionId
    this.on('Runtime.consoleAPICalled', ({ type, args }) =>
      this.#complain(`console.${type}`, args.map((arg) => arg.value ?? arg.description).join(' ')),
    )
    this.on('Runtime.exceptionThrown', ({ exceptionDetails: { text, exception } }) =>
      this.#complain('exception', exception?.description ?? text),
    )
    this.on('Log.entryAdded', ({ entry: { source, level, text, url } }) =>
      this.#complain(`${source} ${level}`, `${text} ${url ?? ''}`),
    )
    this.on('Page.javascriptDialogOpening', ({ message }) => {
      this.#complain('dialog', message)
      this.send('Page.handleJavaScriptDialog', { accept: true })
    })
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.send(`${domain}.enable`)
    // A violation is also a console error; the event names the directive.
    const watch = `addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI))`
    await this.send('Page.addScriptToEvaluateOnNewDocument', { source: watch })
    await this.send('Page.navigate', { url })
    await eventually('the page is loaded', () =>
      this.run(() => document.readyState === 'complete' && location.href !== 'about:blank'),
    )
  }

  #complain(kind, text) {
    this.complaints.push(`${kind}: ${text}`)
  }

  /** Runs a function in the page, with arguments that JSON can hold. */
  async run(work, ...args) {
    const expression = `(${work})(...${JSON.stringify(args)})`
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
    return result.value
  }

  async press(key, modifiers = 0) {
    const event = { key, modifiers, ...KEYS[key] }
    await this.send('Input.dispatchKeyEvent', { type: event.text ? 'keyDown' : 'rawKeyDown', ...event })
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event, text: undefined })
  }

  type(text) {
    return this.send('Input.insertText', { text })
  }

  size(width, height) {
    return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false })
  }

  prefer(features) {
    return this.send('Emulation.setEmulatedMedia', {
      features: Object.entries(features).map(([name, value]) => ({ name, value })),
    })
  }

  /** The whole page as PNG. */
  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true })
    return Buffer.from(data, 'base64')
  }

  async stop() {
    const gone = new Promise((done) => this.process.on('exit', done))
    this.sessionId = undefined
    const asked = this.send('Browser.close').catch(() => {})
    // A timer that is left would keep this process for all of it.
    let timer
    const late = new Promise((done) => (timer = setTimeout(done, 5_000)))
    await Promise.race([Promise.all([asked, gone]), late])
    clearTimeout(timer)
    if (this.process.exitCode === null) this.process.kill('SIGKILL')
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 })
  }
}
