//! Searches in texts, and numbers, of which there is one copy each, for size.

use core::fmt;

/// A text around the first of a sign, which is ASCII.
#[inline(never)]
#[cfg(feature = "http")]
pub(crate) fn halves(text: &str, sign: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == sign)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// A text up to the first of some signs, which are ASCII, and from there on.
#[inline(never)]
#[cfg(feature = "http")]
pub(crate) fn cut<'a>(text: &'a str, signs: &[u8]) -> (&'a str, &'a str) {
    let at = text.bytes().position(|byte| signs.contains(&byte)).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// The same of the last of a sign, which belongs to neither.
#[inline(never)]
#[cfg(feature = "http")]
pub(crate) fn last_halves(text: &str, sign: u8) -> Option<(&str, &str)> {
    let at = text.bytes().rposition(|byte| byte == sign)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What may be a user and a password in a text that may be an address: all before the last `@`, whatever is wrong with the
/// address. A scheme stays out of it. `None`: there is none, or it is a path or the name of a file, such as `app@home.log`.
pub(crate) fn user_part(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once('@')?;
    let is_path = |text: &str| text.starts_with(['/', '.', '~']) && !text.starts_with("//") && !text.contains(':');
    let behind = before.split_once(':').filter(|(scheme, _)| ["unix", "file"].contains(scheme));
    if is_path(before)
        || behind.is_some_and(|(_, path)| is_path(path))
        || !before.contains(':') && !before.contains("//")
    {
        return None;
    }
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._=".contains(&byte));
    let user = match before.split_once("://") {
        Some((scheme, user)) if is_scheme(scheme) => user,
        // Behind it an abstract socket begins with an `@`.
        _ => before.strip_prefix("unix:").unwrap_or(before),
    };
    (!user.is_empty()).then_some(user)
}

/// Whether two texts are the same but for capitals.
#[inline(never)]
pub(crate) fn is(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Without the spaces around it.
#[inline(never)]
#[cfg(feature = "http")]
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_ascii()
}

/// A number, of which `str::parse` has a copy for each width and place: 300 bytes each. There may be a `+` before it.
#[inline(never)]
pub(crate) fn whole(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The same to this base.
#[inline(never)]
pub(crate) fn whole_of(text: &str, radix: u32) -> Option<u64> {
    u64::from_str_radix(text, radix).ok()
}

/// A number in digits alone.
#[inline(never)]
#[cfg(feature = "http")]
pub(crate) fn number(text: &str) -> Option<u64> {
    whole(text).filter(|_| !text.starts_with('+'))
}

/// What something says, of which `to_string` makes a copy for each kind and place.
#[inline(never)]
pub(crate) fn as_text(what: &dyn fmt::Display) -> String {
    what.to_string()
}

/// A text with its control characters escaped, so that it is on one line.
#[inline(never)]
pub(crate) fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}
