// Stands between the page and the server, for answers that no healthy server gives.
import { eventually } from './chromium.mjs'

/** Answers `/diagnostics` with what the check says until the page shows it, and holds the questions that come then. */
export class Middleman {
  #next
  #held = []
  #served = 0
  mostHeld = 0

  constructor(browser) {
    this.browser = browser
  }

  async stepIn() {
    this.browser.on('Fetch.requestPaused', ({ requestId }) => {
      this.#held.push(requestId)
      this.#answer()
      this.mostHeld = Math.max(this.mostHeld, this.#held.length)
    })
    await this.browser.send('Fetch.enable', { patterns: [{ urlPattern: '*/diagnostics*' }] })
  }

  #answer() {
    if (!this.#next || !this.#held.length) return
    const body = Buffer.from(JSON.stringify(this.#next)).toString('base64')
    const responseHeaders = [{ name: 'content-type', value: 'application/json' }]
    for (const requestId of this.#held.splice(0))
      // A question that the page gave up can't be answered.
      this.browser.send('Fetch.fulfillRequest', { requestId, responseCode: 200, responseHeaders, body }).catch(() => {})
  }

  /** Gives the page this body, and waits until it shows it. */
  async serve(body) {
    const version = `${body.version} check ${++this.#served}`
    this.#next = { ...body, version }
    this.#answer()
    await eventually('the page shows what it was served', () =>
      this.browser.run((text) => document.body.innerText.includes(text), version),
    )
    this.#next = undefined
  }

  /** Counts anew how many questions are held at once. */
  forgetHeld() {
    this.#held = []
    this.mostHeld = 0
  }

  async stepOut() {
    await this.browser.send('Fetch.disable')
  }
}
