// Checks the status page in a real headless Chromium: node check.mjs URL [--only live|served] [--screenshots DIR]
// URL is that of a running server (`lumberjack --status 127.0.0.1:PORT`), which this connects to as a log client too.
// `live`: what the page does with that server; `served`: with answers that are made up. Both wait a lot, and can be run
// side by side; without `--only` one comes after the other.
// Prints a line for each check. Exit code: 0 all is well, 1 something failed, 2 wrong use, 77 there is no Chromium.
//
// node check.mjs --csp FILE prints the Content-Security-Policy that belongs to a page.
import { readFileSync } from 'node:fs'
import { Checks } from './checks.mjs'
import { Chromium } from './chromium.mjs'
import { policyOf } from './reading.mjs'

const NO_CHROMIUM = 77

async function live(checks) {
  await checks.run('the page comes with its policy', checks.headers)
  await checks.run('the page is small, and needs nothing from elsewhere', checks.page)
  await checks.run('headings, captions, scopes and labels', checks.structure)
  await checks.run('the page follows the server', checks.follows)
  await checks.run('what came before the page was opened', checks.history)
  await checks.run('values under the pointer', checks.pointer)
  await checks.run('the filter and the order ask the server', checks.asksServer)
  await checks.run('the live view: a line, pause, filter, 500 lines', checks.tail)
  await checks.run('the layout stands still', checks.still)
  await checks.run('nothing sticks out at 360 px', checks.fits)
  await checks.run('screenshots', checks.screenshots)
  await checks.run('text has contrast, light and dark', checks.contrast)
  await checks.run('Tab reaches every control', checks.keyboard)
  await checks.run('no questions while hidden or held', checks.hiddenAndHeld)
  await checks.run('a server that is away, and comes back', checks.away)
}

async function served(checks) {
  await checks.middleman.stepIn()
  await checks.run('values are those of /diagnostics', checks.values)
  await checks.run('sort and filter by keyboard', checks.sortAndFilter)
  await checks.run('rates begin anew after a restart', checks.rates)
  await checks.run('three states', checks.states)
  await checks.run('a selection stays', checks.selection)
  await checks.run('a telephone', checks.phone)
  await checks.run('markup in any text stays text', checks.markup)
  await checks.run('a server that does not answer', checks.silence)
  await checks.middleman.stepOut()
}

async function check(url, parts, directory) {
  const browser = await Chromium.start()
  if (!browser) {
    console.log('skipped: there is no Chromium; install it, or name it in CHROMIUM')
    return NO_CHROMIUM
  }
  try {
    const checks = new Checks(url, browser, await (await fetch(url)).text(), directory)
    checks.hasTail = (await fetch(new URL('tail', url), { method: 'HEAD' })).status !== 404
    await browser.open(url)
    await browser.size(1200, 900)
    await checks.run('the state is shown', checks.isHealthShown)
    for (const part of parts) await part(checks)
    await checks.run('the page asks nobody else', checks.onlyHere)
    await checks.run('no error in the console, no violation of the policy', checks.noComplaints)
    return checks.failures ? 1 : 0
  } finally {
    await browser.stop()
  }
}

const [first, ...rest] = process.argv.slice(2)
const options = Object.fromEntries(rest.flatMap((word, at) => (at % 2 ? [] : [[word, rest[at + 1]]])))
const { '--only': only, '--screenshots': directory, ...unknown } = options
const parts = { live, served }
if (first === '--csp') {
  console.log(policyOf(readFileSync(rest[0], 'utf8')))
} else if (!first || Object.keys(unknown).length || (only && !parts[only])) {
  console.error('use: check.mjs URL [--only live|served] [--screenshots DIR], or check.mjs --csp FILE')
  process.exitCode = 2
} else {
  process.exitCode = await check(first, only ? [parts[only]] : [live, served], directory)
}
