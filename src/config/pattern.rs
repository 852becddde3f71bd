//! Signs that other programs and shells replace in a text, and we do not. Behind `./` a name is a name, whatever is in it.

/// Whether one of the folders that a path leads through is `.`, as in `./name`.
pub(crate) fn is_literal(path: &str) -> bool {
    path.split('/').any(|part| part == ".")
}

/// The first such sign, or word in braces; those in `replaced` are ours.
#[inline(never)] // one copy, for size
pub(crate) fn sign<'a>(text: &'a str, replaced: &[&str]) -> Option<&'a str> {
    let is_sign = |pair: &[u8]| match *pair {
        [b'%', next] => next.is_ascii_alphabetic() || next == b'{',
        [b'$', next] => next.is_ascii_alphabetic() || b"_{(".contains(&next),
        [b'*', _] | [_, b'*'] => true,
        _ => false,
    };
    if text.starts_with('~') && text.contains('/') {
        return Some("~");
    }
    match text.as_bytes().windows(2).find(|pair| is_sign(pair)) {
        Some(pair) => Some(["%", "$", "*"].into_iter().find(|sign| pair.starts_with(sign.as_bytes())).unwrap_or("*")),
        None => word_in_braces(text, replaced),
    }
}

/// `{ip}`: the first word in braces that is none of ours.
fn word_in_braces<'a>(text: &'a str, replaced: &[&str]) -> Option<&'a str> {
    let mut rest = text;
    loop {
        rest = rest.get(rest.find('{')?..)?;
        let braces = rest.get(..=rest.find('}')?)?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-: ".contains(&byte);
        let inside = braces.get(1..braces.len() - 1)?;
        if !inside.is_empty() && inside.bytes().all(is_letter) && !replaced.contains(&braces) {
            return Some(braces);
        }
        rest = rest.get(1..)?;
    }
}
