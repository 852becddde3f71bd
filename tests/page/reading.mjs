// What the checks of the page compare with: texts for people read as numbers, and the policy that belongs to a page.
import { createHash } from 'node:crypto'

export function equal(what, got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)]
  if (a !== b) throw new Error(`${what} is ${a}, not ${b}`)
}

export function ok(what, isSo) {
  if (!isSo) throw new Error(what)
}

/** The policy for a page: its one style and its one script by the SHA-256 of the bytes between the tags, in base64. */
export function policyOf(html) {
  const hash = (tag) => {
    const parts = html.split(new RegExp(`</?${tag}>`))
    equal(`the number of parts around <${tag}>`, parts.length, 3)
    return `'sha256-${createHash('sha256').update(parts[1]).digest('base64')}'`
  }
  return (
    `default-src 'none'; connect-src 'self'; img-src data:; style-src ${hash('style')}; script-src ${hash('script')}; ` +
    `base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'`
  )
}

// What a text for people says, as a number: the check's own reading of `1,234`, `1.23 MB` and `2 min 5 s`.
const UNITS = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }
const MILLISECONDS = { ms: 1, s: 1e3, min: 60e3, h: 3600e3, d: 86400e3 }
export const number = (text) => Number(text.replaceAll(',', ''))

export function isBytes(what, text, wanted) {
  const [value, unit] = text.split(/[ /]/)
  const got = number(value) * (UNITS[unit] ?? NaN)
  // Three digits are shown.
  ok(`${what} says ${text}, and it is ${wanted} bytes`, Math.abs(got - wanted) <= wanted * 0.0051)
}

export function isTime(what, text, wanted) {
  const parts = [...text.matchAll(/(\d+) (ms|s|min|h|d)/g)]
  const got = parts.reduce((sum, [, value, unit]) => sum + number(value) * MILLISECONDS[unit], 0)
  const unit = parts.length > 1 || wanted < 60e3 ? MILLISECONDS[parts.at(-1)?.[2]] : 60e3
  ok(
    `${what} says ${text}, and it is ${wanted} ms`,
    parts.length && got <= wanted && wanted - got < Math.max(unit, 1000),
  )
}

export const is = (what, text, wanted) => equal(what, number(text), wanted)
