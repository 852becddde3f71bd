// The checks of the status page, each a method that fails with a sentence.
import { mkdirSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { eventually } from './chromium.mjs'
import { Middleman } from './middleman.mjs'
import { equal, is, isBytes, isTime, number, ok, policyOf } from './reading.mjs'

const MOST_PAGE_BYTES = 32 * 1024
const POLL_MS = 1000
const TIMEOUT_MS = 3000
const ANSWER_MS = 10_000
// A poller as /diagnostics shows it.
const POLLER = {
  id: 1,
  url: 'http://192.0.2.7/log.txt',
  intervalMs: 5000,
  seenEntries: 1234,
  fetches: 20,
  failures: 3,
  notModified: 9,
  lines: 56789,
  bytes: 1 << 20,
  gaps: 1,
  name: 'plc-7',
  state: 'waiting',
  lastError: '',
  lastFetch: 1,
  lastStatus: 200,
}
const MARKUP = `<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>`
const SORT_BUTTONS = 18 // ten columns of connections, eight of hosts
const AA = 4.5 // the least contrast of text that WCAG level AA allows

/** A connection as the server lists it. */
const connectionOf = (peer, state, numbers = {}) => ({
  peer,
  state,
  ...{ sinceMs: 1, idleMs: 1, bytes: 1, lines: 1, pendingBytes: 0, linesPerSecond: 1, bytesPerSecond: 1, dropped: 0 },
  ...numbers,
})

const pause = (ms) => new Promise((done) => setTimeout(done, ms))

/** Connects as a log client would. */
function open(listen) {
  const [, host, port] = listen.match(/^\[?([^\]]*?)\]?:(\d+)$/) ?? []
  const where = listen.startsWith('unix:') ? { path: listen.slice(5) } : { host, port: Number(port) }
  return new Promise((done, fail) => {
    const socket = net.connect(where, () => done(socket))
    socket.on('error', fail).resume()
    socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`${listen} does not close after the last line`)))
  })
}

/** Sends lines, and ends. */
async function sendLines(listen, ...lines) {
  const socket = await open(listen)
  return new Promise((done, fail) => {
    socket.on('error', fail).on('close', done)
    socket.end(lines.map((line) => `${line}\n`).join(''))
  })
}

export class Checks {
  failures = 0

  constructor(url, browser, html, directory) {
    Object.assign(this, { url, browser, html, directory })
    this.origin = new URL(url).origin
    this.middleman = new Middleman(browser)
  }

  async diagnostics(connections = 100) {
    return (await fetch(new URL(`diagnostics?connections=${connections}`, this.url))).json()
  }

  text(selector) {
    return this.browser.run((selector) => document.querySelector(selector).innerText, selector)
  }

  /** The cells of each row of a table, as they are shown. */
  rows(id) {
    return this.browser.run(
      (id) =>
        [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.textContent)),
      id,
    )
  }

  isHealthShown() {
    return eventually('the state is shown', async () => /^(Healthy|Not healthy: )/.test(await this.text('#health')))
  }

  async run(name, check) {
    try {
      await check.call(this)
      console.log(`ok      ${name}`)
    } catch (error) {
      this.failures += 1
      console.log(`FAILED  ${name}: ${error.message}`)
    }
  }

  /** Presses Tab until the element that `isIt` accepts has the focus. */
  async tabTo(what, isIt) {
    await this.browser.run(() => document.activeElement.blur())
    for (let presses = 0; presses < 80; presses++) {
      await this.browser.press('Tab')
      if (await this.browser.run(isIt)) return
    }
    throw new Error(`Tab does not reach ${what}`)
  }

  async headers() {
    const answer = await fetch(this.url)
    equal('the policy', answer.headers.get('content-security-policy'), policyOf(this.html))
    equal('the type', answer.headers.get('content-type'), 'text/html; charset=utf-8')
  }

  page() {
    const bytes = Buffer.byteLength(this.html)
    ok(`the page has ${bytes} bytes, and ${MOST_PAGE_BYTES} are allowed`, bytes < MOST_PAGE_BYTES)
    const markup = this.html.replace(/<(script|style)>.*?<\/\1>/gs, '')
    equal('attributes that the policy forbids', markup.match(/\s(on\w+|style)=/g), null)
    equal('addresses elsewhere', this.html.match(/(https?:)?\/\/[a-z][^\s'"]*\.[a-z]/gi), null)
    ok('the page has a language', /<html lang="en">/.test(this.html))
  }

  async structure() {
    const found = await this.browser.run(() => ({
      untitled: [...document.querySelectorAll('table')].filter((table) => !table.caption?.textContent).length,
      scopeless: [...document.querySelectorAll('table th')].filter((cell) => !['col', 'row'].includes(cell.scope))
        .length,
      nameless: [...document.querySelectorAll('input')].filter((input) => !input.labels.length).length,
      headings: [...document.querySelectorAll('h1, h2')].map((heading) => heading.tagName).join(' '),
      live: [...document.querySelectorAll('[aria-live], [role=log], [role=status], [role=alert]')]
        .map((node) => node.id)
        .join(' '),
    }))
    equal('tables without a caption', found.untitled, 0)
    equal('headers of tables without a scope', found.scopeless, 0)
    equal('fields without a label', found.nameless, 0)
    equal('regions that are read aloud', found.live, 'health')
    ok(`the headings are ${found.headings}`, /^H1( H2)+$/.test(found.headings))
    ok(
      'the title names the state',
      /^(Healthy|Healthy, but look|Not healthy): Lumberjack on /.test(await this.browser.run(() => document.title)),
    )
  }

  async values() {
    const client = await open((await this.diagnostics()).listen[0])
    client.write('one\ntwo\nunfinished')
    const hasRead = ({ connections }) => connections.some(({ lines }) => lines === 2)
    await eventually('the server has read what a client sent', async () => hasRead(await this.diagnostics(10_000)))
    const d = await this.diagnostics()
    d.http.pollerDetails = [POLLER, { ...POLLER, name: 'gone', lastError: 'it answered 404', lines: 0 }]
    client.destroy()
    await this.middleman.serve(d)
    const health = await this.text('#health')
    equal('the state', health.startsWith(d.health.ok ? 'Healthy' : 'Not healthy'), true)
    for (const reason of d.health.reasons) ok(`the state lacks ${reason}`, health.includes(reason))
    await this.openAll()
    await this.factsAndPictures(d)
    await this.tables(d)
    const limits = await this.browser.run(() =>
      [...document.querySelectorAll('#limits div')].map((limit) => [...limit.children].map((part) => part.textContent)),
    )
    equal('the number of limits', limits.length, Object.keys(d.limits).length)
    const limit = Object.fromEntries(limits)
    isBytes('--max-line', limit['--max-line'], d.limits.maxLine)
    isBytes('--memory', limit['--memory'], d.limits.memory)
    is('--max-connections', limit['--max-connections'], d.limits.maxConnections)
    equal('--when-full', limit['--when-full'], d.limits.whenFull)
    if (d.limits.idleTimeout) isTime('--idle-timeout', limit['--idle-timeout'], d.limits.idleTimeout)
    else equal('--idle-timeout', limit['--idle-timeout'], 'never')
  }

  /** Opens what is folded. */
  openAll() {
    return this.browser.run(() => {
      document.querySelectorAll('details').forEach((details) => (details.open = true))
    })
  }

  async factsAndPictures(d) {
    const facts = Object.fromEntries(
      await this.browser.run(() =>
        [...document.querySelectorAll('#facts div')].map((fact) => [...fact.children].map((part) => part.textContent)),
      ),
    )
    isTime('Up', facts.Up, d.uptimeMs)
    equal('Listening on', facts['Listening on'], d.listen.join(', '))
    isBytes('Memory of the process', facts['Memory of the process'], d.memory.rss)
    equal('File descriptors', facts['File descriptors'].split(' of ').map(number), [
      d.descriptors.used,
      d.descriptors.allowed,
    ])
    const figures = await this.browser.run(() =>
      [...document.querySelectorAll('figure')].map((figure) =>
        [...figure.children].slice(0, 3).map((part) => part.textContent),
      ),
    )
    equal('the pictures', figures.length, 4)
    const [lines, bytes, connections, memory] = figures
    equal('lines', lines[2], `${d.counters.lines.toLocaleString('en')} since the start`)
    isBytes('bytes', bytes[2], d.counters.bytes)
    is('connections', connections[1], d.gauges.activeConnections)
    ok('connections allowed', connections[2].startsWith(`of ${d.limits.maxConnections.toLocaleString('en')};`))
    isBytes('memory', memory[1], d.memory.used)
    isBytes('the budget', memory[2].split('; ')[0].slice(3), d.memory.budget)
  }

  async tables(d) {
    const outputs = await this.rows('outputs')
    equal(
      'the outputs',
      outputs.map((cells) => cells[0]),
      Object.keys(d.outputs),
    )
    for (const [name, waiting, behind, dropped, failures, bytes, writes] of outputs) {
      const output = d.outputs[name]
      isBytes(`bytes of ${name}`, bytes, output.bytes)
      isBytes(`waiting for ${name}`, waiting, output.waitingBytes)
      equal(`counts of ${name}`, [writes, behind, dropped, failures].map(number), [
        output.writes,
        output.lagLines,
        output.droppedLines,
        output.failures,
      ])
    }
    const pollers = await this.rows('pollers')
    equal(
      'the pollers',
      pollers.map((cells) => [cells[0], cells[1], number(cells[2]), number(cells[7])]),
      d.http.pollerDetails.map((poller) => [
        poller.name,
        poller.lastError || poller.state,
        poller.lines,
        poller.seenEntries,
      ]),
    )
    const sumOf = (name) => Object.values(d.outputs).reduce((sum, output) => sum + output[name], 0)
    const ofOutputs = Object.fromEntries(
      ['droppedLines', 'rotationFailures', 'syncFailures', 'rewinds'].map((name) => [name, sumOf(name)]),
    )
    const { lines, bytes, accepted, datagrams, ...limits } = d.counters
    const counters = await this.browser.run(() =>
      [...document.querySelectorAll('#counters tr')].map((row) => [
        row.cells[0].textContent,
        row.cells[1].textContent,
        row.offsetHeight > 0,
      ]),
    )
    equal('the number of counters', counters.length, Object.keys(limits).length + Object.keys(ofOutputs).length)
    for (const [count, sentence, isShown] of counters) {
      ok(`a counter has no sentence: ${sentence}`, / .*\.$/.test(sentence))
      equal(`whether ${count} ${sentence} is shown`, isShown, !/^0( B)?$/.test(count))
    }
    const shown = counters
      .map(([count]) => count)
      .filter((count) => !count.endsWith('B'))
      .map(number)
    const { droppedBytes, ...rest } = { ...limits, ...ofOutputs }
    equal('the counters', shown.sort(), Object.values(rest).sort())
    isBytes('dropped bytes', counters.find(([count]) => count.endsWith('B'))[0], droppedBytes)
    await this.clients(d)
  }

  async clients(d) {
    const rows = await this.rows('connections')
    // By rate, the most first, then by name: clients of one Unix socket share theirs.
    const wantedRows = [...d.connections].sort(
      (a, b) => b.bytesPerSecond - a.bytesPerSecond || (a.peer < b.peer ? -1 : a.peer > b.peer ? 1 : 0),
    )
    equal(
      'the peers',
      rows.map(([peer]) => peer),
      wantedRows.map(({ peer }) => peer),
    )
    wantedRows.forEach((connection, i) => {
      const [peer, state, , rate, dropped, lines, bytes, pending, age, idle] = rows[i]
      isBytes(`the rate of ${peer}`, rate.replace('/s', ''), connection.bytesPerSecond)
      is(`what was dropped of ${peer}`, dropped, connection.dropped)
      isTime(`the age of ${peer}`, age, connection.sinceMs)
      isTime(`the silence of ${peer}`, idle, connection.idleMs)
      is(`the lines of ${peer}`, lines, connection.lines)
      isBytes(`the bytes of ${peer}`, bytes, connection.bytes)
      isBytes(`what is pending of ${peer}`, pending, connection.pendingBytes)
      equal(`the state of ${peer}`, state, connection.state)
    })
    const hosts = (await this.rows('hosts')).map((cells) => [cells[0], number(cells[4]), number(cells[5])])
    const wanted = d.hosts.map((host) => [host.host, host.connections, host.lines])
    equal('the hosts', hosts.sort(), wanted.sort())
  }

  /** What the live page shows follows the server, without the middleman. */
  async follows() {
    const { listen, counters } = await this.diagnostics()
    await sendLines(listen[0], 'one more line')
    const shown = async () => number((await this.text('figure .soft')).split(' ')[0])
    await eventually('the page counts one more line', async () => (await shown()) > counters.lines)
  }

  async rates() {
    const d = await this.diagnostics()
    const at = (uptimeMs, lines, bytes) =>
      this.middleman.serve({ ...d, uptimeMs, counters: { ...d.counters, lines, bytes } })
    const shown = () =>
      this.browser.run(() => [...document.querySelectorAll('figure b')].slice(0, 2).map((value) => value.textContent))
    await at(1_000_000, 5_000_000, 8e9)
    await at(1_001_000, 5_000_500, 8e9 + 2e6)
    equal('the rates', await shown(), ['500', '1.91 MiB/s'])
    await at(10, 3, 300)
    equal('the rates after a restart', await shown(), ['…', '…'])
    await at(2010, 23, 3300)
    equal(
      'the rates a little later',
      await shown(),
      ['10', '1.46 KiB/s'],
    )
    const paths = await this.browser.run(() =>
      [...document.querySelectorAll('figure path')].map((path) => path.getAttribute('d')),
    )
    ok(
      `a picture is broken: ${paths}`,
      paths.every((path) => !/NaN|Infinity|undefined/.test(path)),
    )
    const [, , line] = paths
    ok(`the rates before and after a restart are joined: ${line}`, line.split('M').length > 2)
  }

  async markup() {
    const d = await this.diagnostics()
    const dirty = (value) =>
      typeof value === 'string'
        ? MARKUP
        : Array.isArray(value)
          ? value.map(dirty)
          : value && typeof value === 'object'
            ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, dirty(inner)]))
            : value
    const connection = connectionOf(MARKUP, MARKUP)
    const host = { ...connection, host: MARKUP, connections: 1 }
    const [output] = Object.values(d.outputs)
    const body = {
      ...dirty(d),
      connections: [connection],
      hosts: [host],
      outputs: { [MARKUP]: output },
      http: { activePollers: 1, pollerDetails: [{ ...POLLER, name: MARKUP, lastError: MARKUP }] },
      health: { ok: false, reasons: [MARKUP], troubles: [{ text: MARKUP, forMs: 1 }] },
    }
    body.counters = { ...body.counters, [MARKUP]: 1 }
    body.help = { ...body.help, losses: { ...body.help.losses, [MARKUP]: MARKUP } }
    body.limits = { ...body.limits, [MARKUP]: 1 }
    await this.middleman.serve(body)
    await this.noMarkup()
    const [[peer, state]] = await this.rows('connections')
    equal('the peer', [peer, state], [MARKUP, MARKUP])
    equal(
      'the host, the output and the poller',
      [(await this.rows('hosts'))[0][0], (await this.rows('outputs'))[0][0], ...(await this.rows('pollers'))[0].slice(0, 2)],
      [MARKUP, MARKUP, MARKUP, MARKUP],
    )
    ok('the reason is not shown as text', (await this.text('#health')).includes(MARKUP))
    ok('the trouble is not shown as text', (await this.text('#troubles')).includes(MARKUP))
    await this.fits()
  }

  async noMarkup() {
    const found = await this.browser.run(() => [
      document.querySelectorAll('img').length,
      document.scripts.length,
      typeof window.hacked,
    ])
    equal('images, scripts, and what a script would have set', found, [0, 1, 'undefined'])
  }

  /** Nothing sticks out of the page at the width of a telephone. */
  async fits() {
    await this.browser.size(360, 800)
    const [width, room] = await this.browser.run(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ])
    await this.browser.size(1200, 900)
    ok(`the page is ${width} px wide, and has ${room}`, width <= room)
  }

  async keyboard() {
    const reached = new Set()
    await this.openAll()
    await this.browser.run(() => document.activeElement.blur())
    for (let presses = 0; presses < 70; presses++) {
      await this.browser.press('Tab')
      const [name, hasOutline] = await this.browser.run(() => {
        const node = document.activeElement
        const style = getComputedStyle(node)
        const table = node.closest('table')?.id ?? node.querySelector('table')?.id ?? ''
        return [
          `${table} ${node.id || node.textContent.slice(0, 20)}`.trim(),
          node === document.body || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2),
        ]
      })
      ok(`${name} has the focus and does not show it`, hasOutline)
      reached.add(name)
    }
    const ids = ['hold', 'filter', 'zeros', ...(this.hasTail ? ['tail-button', 'match', 'peer', 'log'] : [])]
    for (const id of ids) ok(`Tab does not reach ${id}`, reached.has(id))
    const sorting = [...reached].filter((name) =>
      /^(connections|hosts) (Peer|Age|Idle|Lines|Bytes|Lines\/s|Bytes\/s|Dropped|Pending|State|Host|Connections)( [↑↓])?$/.test(name),
    )
    equal('the buttons that sort and that Tab reaches', sorting.length, SORT_BUTTONS)
  }

  async sortAndFilter() {
    const connection = (peer, lines, state) => connectionOf(peer, state, { lines })
    const connections = [
      connection('192.0.2.1:1', 9, 'reading'),
      connection('192.0.2.2:1', 1000, 'skipping'),
      connection('192.0.2.3:1', 80, 'reading'),
    ]
    const d = await this.diagnostics()
    await this.middleman.serve({ ...d, connections })
    const column = async (index) => (await this.rows('connections')).map((cells) => cells[index])
    await this.tabTo(
      'the button that sorts by lines',
      () =>
        document.activeElement.textContent === 'Lines' && document.activeElement.closest('table').id === 'connections',
    )
    await this.browser.press('Enter')
    equal('sorted by lines', await column(5), ['1,000', '80', '9'])
    await this.browser.press(' ')
    equal('sorted by lines, the other way', await column(5), ['9', '80', '1,000'])
    equal(
      'the mark of the order',
      await this.browser.run(() => document.activeElement.parentNode.getAttribute('aria-sort')),
      'ascending',
    )
    equal(
      'columns with that mark',
      await this.browser.run(() => document.querySelectorAll('#connections [aria-sort]').length),
      1,
    )
    await this.tabTo('the filter', () => document.activeElement.id === 'filter')
    await this.browser.type('READ')
    equal('filtered by state', await column(0), ['192.0.2.1:1', '192.0.2.3:1'])
    const found = [connections[0], connections[2], connection('192.0.2.4:1', 2, 'reading')]
    await this.middleman.serve({ ...d, connections: found })
    equal('filtered and sorted with the next figures', await column(0), ['192.0.2.4:1', '192.0.2.1:1', '192.0.2.3:1'])
    await this.browser.run(() => {
      document.querySelector('#filter').value = ''
    })
  }

  /** An answer that does not come: no second question meanwhile, given up in time, and asked again. */
  async silence() {
    this.middleman.forgetHeld()
    await eventually('the page asks', () => this.middleman.mostHeld > 0)
    const asked = Date.now()
    await eventually('the page says that the server is away', async () =>
      (await this.text('#health')).startsWith('Server not reachable, trying again'),
    )
    const waited = Date.now() - asked
    ok(`the page gave up after ${waited} ms`, waited > TIMEOUT_MS - 500 && waited < TIMEOUT_MS + 1500)
    // The one that the page gave up, and its successor.
    ok(`${this.middleman.mostHeld} questions at once`, this.middleman.mostHeld <= 2)
    await this.middleman.serve(await this.diagnostics())
    await this.isHealthShown()
  }

  async away() {
    const conditions = (offline) => ({ offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 })
    await this.browser.send('Network.emulateNetworkConditions', conditions(true))
    await eventually('the page says that the server is away', async () =>
      (await this.text('#health')).startsWith('Server not reachable, trying again'),
    )
    await this.browser.send('Network.emulateNetworkConditions', conditions(false))
    await this.isHealthShown()
    // The browser itself says that it could not connect; no page can keep it from that.
    this.browser.complaints = this.browser.complaints.filter(
      (complaint) => !complaint.includes('ERR_INTERNET_DISCONNECTED'),
    )
  }

  async hiddenAndHeld() {
    const questions = () =>
      this.browser.run(
        () => performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/diagnostics')).length,
      )
    const hide = (isHidden) =>
      this.browser.run((isHidden) => {
        Object.defineProperty(document, 'hidden', { configurable: true, value: isHidden })
        document.dispatchEvent(new Event('visibilitychange'))
      }, isHidden)
    const press = () => this.browser.run(() => document.querySelector('#hold').click())
    for (const [what, stop, go] of [
      ['hidden', () => hide(true), () => hide(false)],
      ['held', press, press],
    ]) {
      await stop()
      await pause(POLL_MS / 2) // the question that was under way
      const before = await questions()
      await pause(2.5 * POLL_MS)
      equal(`questions while the page is ${what}`, (await questions()) - before, 0)
      await go()
      await eventually(`the page asks again after it was ${what}`, async () => (await questions()) > before)
    }
    await this.isHealthShown()
  }

  async still() {
    await this.browser.size(1200, 3000) // only what is in sight counts
    const shift = await this.browser.run(
      (ms) =>
        new Promise((done) => {
          let sum = 0
          const observer = new PerformanceObserver((list) => list.getEntries().forEach((entry) => (sum += entry.value)))
          observer.observe({ type: 'layout-shift' })
          setTimeout(() => done(sum), ms)
        }),
      4 * POLL_MS,
    )
    await this.browser.size(1200, 900)
    ok(`the layout jumps: ${shift} in four seconds`, shift < 0.02)
  }

  async contrast() {
    for (const scheme of ['light', 'dark']) {
      await this.browser.prefer({ 'prefers-color-scheme': scheme })
      const faint = await this.browser.run((least) => {
        const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
        const rgba = (color) => {
          pen.clearRect(0, 0, 1, 1)
          pen.fillStyle = color
          pen.fillRect(0, 0, 1, 1)
          return [...pen.getImageData(0, 0, 1, 1).data]
        }
        const light = ([red, green, blue]) => {
          const [r, g, b] = [red, green, blue].map((c) =>
            c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
          )
          return 0.2126 * r + 0.7152 * g + 0.0722 * b
        }
        const ground = (node) => {
          const color = node ? rgba(getComputedStyle(node).backgroundColor) : [255, 255, 255, 255]
          return color[3] === 255 ? color : ground(node.parentElement)
        }
        const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
        return [...document.body.querySelectorAll('*')]
          .filter((node) => node.getClientRects().length && hasText(node))
          .map((node) => {
            const [a, b] = [light(rgba(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x)
            return [(a + 0.05) / (b + 0.05), node.textContent.trim().slice(0, 30)]
          })
          .filter(([ratio]) => ratio < least)
      }, AA)
      equal(`text that is too faint when it is ${scheme}`, faint, [])
    }
  }

  async tail() {
    if (!this.hasTail) return this.noTail()
    const { listen } = await this.diagnostics()
    const log = () => this.text('#log')
    const shows = (line) => eventually(`the line ${line}`, async () => (await log()).includes(line))
    const state = (wanted) =>
      eventually(`the live view is ${wanted}`, async () => (await this.text('#tail-state')) === wanted)
    // It runs by itself.
    await state('Running')
    await sendLines(listen[0], `${MARKUP} first`)
    await shows(`${MARKUP} first`)
    await this.noMarkup()
    await sendLines(listen[0], '2026-01-01 ERROR it broke', '<12>Jan 1 box app: hm')
    await shows('box app: hm')
    const levels = await this.browser.run(() =>
      [...document.querySelectorAll('#log bdi')].slice(-2).map((line) => line.className),
    )
    equal('the levels of the last lines', levels, ['bad', 'warn'])
    await this.tabTo('the button of the live view', () => document.activeElement.id === 'tail-button')
    await this.browser.press(' ')
    await state('Paused')
    const { counters } = await this.diagnostics()
    await sendLines(listen[0], 'while it is paused')
    await eventually('the server has the line', async () => (await this.diagnostics()).counters.lines > counters.lines)
    await this.browser.press('Enter')
    await state('Running')
    await sendLines(listen[0], 'after the pause')
    await shows('after the pause')
    ok('a line came through the pause', !(await log()).includes('while it is paused'))
    await this.tabTo('the filter of the live view', () => document.activeElement.id === 'match')
    await this.browser.type('wanted & 100 %')
    await this.browser.press('Enter')
    await state('Running')
    await sendLines(listen[0], 'not this one', 'wanted & 100 % this one')
    await shows('wanted & 100 % this one')
    ok('the filter lets other lines through', !(await log()).includes('not this one'))
    // In parts that a viewer can take, so that none is lost.
    for (let last = 199; last < 1200; last += 200) {
      await sendLines(listen[0], ...Array.from({ length: 200 }, (_, i) => `wanted & 100 % ${last - 199 + i}`))
      await eventually('the last of many lines', async () => new RegExp(`100 % ${last}\\n?$`).test(await log()))
    }
    ok(
      'not the last 500 lines are kept',
      (await this.browser.run(() => document.querySelector('#log').childElementCount)) === 500,
    )
    const distance = await this.browser.run(() => {
      const log = document.querySelector('#log')
      return log.scrollHeight - log.scrollTop - log.clientHeight
    })
    ok(`the newest line is ${distance} px out of sight`, distance < 20)
  }

  /** Who opens the page during an incident sees what came before. */
  async history() {
    await eventually('the server has samples', async () => {
      const d = await (await fetch(new URL('diagnostics?history=1', this.url))).json()
      return d.history.length >= 4
    })
    await this.browser.run(() => location.reload())
    await eventually('the pictures have what came before', () =>
      this.browser.run(() => document.querySelector('figure path + path + path')?.getAttribute('d')?.split('L').length >= 3),
    )
    ok(
      'not from the first answer on',
      await this.browser.run(
        () => performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/diagnostics')).length <= 2,
      ),
    )
  }

  /** A picture tells its values under the pointer. */
  async pointer() {
    const move = (x, y) => this.browser.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y })
    await eventually('the picture says what is under the pointer', async () => {
      const [x, y] = await this.browser.run(() => {
        const { left, top, width } = document.querySelector('figure svg').getBoundingClientRect()
        return [left + width - 1, top + 9]
      })
      await move(x, y)
      return /^\d+ s ago, \d\d:\d\d:\d\d$/.test(await this.text('figure .soft'))
    })
    await move(1, 1)
    await eventually('the picture goes on', async () => (await this.text('figure .soft')).endsWith('since the start'))
  }

  /** Green, amber and red, each with its sentences. */
  async states() {
    const d = await this.diagnostics()
    const look = async (health) => {
      await this.middleman.serve({ ...d, health })
      const colour = await this.browser.run(() => document.querySelector('#health').className)
      return [colour, await this.text('#health'), await this.text('#troubles')]
    }
    const troubles = [{ text: 'app.log takes nothing, and clients wait for it', forMs: 6100 }]
    const fine = await look({ ok: true, reasons: [], troubles: [] })
    equal('all is well', fine, ['good', 'Healthy: lines flow, or would if any came.', ''])
    const amber = await look({ ok: true, reasons: [], troubles })
    equal('something is wrong', amber.slice(0, 2), ['', 'Healthy, but look: lines flow, and not all is well.'])
    const sentence = /^app.log takes nothing, and clients wait for it, since \d\d:\d\d:\d\d \(6 s\)$/
    ok(`the sentence is ${amber[2]}`, sentence.test(amber[2]))
    const red = await look({ ok: false, reasons: ['it is so'], troubles })
    equal('lines do not flow', red.slice(0, 2), ['bad', 'Not healthy: it is so.'])
  }

  /** What is selected stays while the page goes on. */
  async selection() {
    const d = await this.diagnostics()
    const first = connectionOf('192.0.2.1:1', 'reading', { bytesPerSecond: 9 })
    const second = connectionOf('192.0.2.2:1', 'reading', { bytesPerSecond: 99 })
    await this.middleman.serve({ ...d, connections: [first] })
    await this.browser.run(() => getSelection().selectAllChildren(document.querySelector('#connections tbody th')))
    await this.middleman.serve({ ...d, connections: [second, first] })
    equal('the selection', await this.browser.run(() => String(getSelection()).trim()), '192.0.2.1:1')
    await this.browser.run(() => getSelection().removeAllRanges())
    await this.middleman.serve({ ...d, connections: [second, first] })
    equal('the rows then', (await this.rows('connections')).length, 2)
  }

  /** The filter asks the server, which looks at all connections. */
  async asksServer() {
    const asked = () =>
      this.browser.run(() =>
        performance
          .getEntriesByType('resource')
          .filter((entry) => /\/diagnostics.*sort=dropped.*match=127.0.0.9/.test(entry.name)).length,
      )
    await this.browser.run(() => {
      const [sort] = [...document.querySelectorAll('#hosts button')].filter((node) => node.textContent === 'Dropped')
      sort.click()
      document.querySelector('#filter').value = '127.0.0.9'
      document.querySelector('#filter').dispatchEvent(new Event('input'))
    })
    await eventually('the server is asked', async () => (await asked()) > 0)
    await this.browser.run(() => {
      document.querySelector('#filter').value = ''
      document.querySelector('#filter').dispatchEvent(new Event('input'))
    })
  }

  /** A telephone shows who, how fast and in which state, and no table has a scroller of its own. */
  async phone() {
    const d = await this.diagnostics()
    await this.middleman.serve({ ...d, connections: [connectionOf('[2001:db8:1234:5678::1]:65535', 'waiting for the output')] })
    await this.browser.size(360, 800)
    const shown = await this.browser.run(() => [
      [...document.querySelectorAll('#connections thead th')]
        .filter((cell) => cell.offsetWidth)
        .map((cell) => cell.textContent),
      [...document.querySelectorAll('.box')].filter((box) => box.scrollWidth > box.clientWidth).length,
      [...document.querySelectorAll('.box')].filter((box) => getComputedStyle(box).overflow !== 'visible').length,
      document.querySelector('#log').getBoundingClientRect().top < document.querySelector('figure').getBoundingClientRect().top,
    ])
    await this.browser.size(1200, 900)
    equal('what a telephone shows', shown, [['Peer', 'State', 'Lines/s'], 0, 0, true])
  }

  async noTail() {
    await eventually('the page says that the live view is off', async () =>
      (await this.text('#tail-off')).includes('--status-tail off'),
    )
    equal('the height of its controls', await this.browser.run(() => document.querySelector('#tail').offsetHeight), 0)
  }

  async screenshots() {
    if (!this.directory) return
    mkdirSync(this.directory, { recursive: true })
    for (const width of [1200, 360]) {
      for (const scheme of ['light', 'dark']) {
        await this.browser.prefer({ 'prefers-color-scheme': scheme })
        await this.browser.size(width, 900)
        await this.browser.size(width, await this.browser.run(() => document.documentElement.scrollHeight))
        writeFileSync(join(this.directory, `${scheme}-${width}.png`), await this.browser.screenshot())
      }
    }
  }

  noComplaints() {
    // That a HEAD of /tail is answered with 404, where it is switched off, the browser says by itself.
    const isAnswer = (complaint) => !this.hasTail && /status of 404 .*\/tail$/.test(complaint)
    equal(
      'what the browser complains of',
      this.browser.complaints.filter((complaint) => !isAnswer(complaint)),
      [],
    )
  }

  async onlyHere() {
    const elsewhere = await this.browser.run(
      (origin) =>
        performance
          .getEntriesByType('resource')
          .map((entry) => entry.name)
          .filter((name) => !name.startsWith(origin)),
      this.origin,
    )
    equal('what the page asks of others', elsewhere, [])
  }
}
