//! Sentences about arguments, without what says in these who we are. Invariant: of a text that may hold a user and a password, what
//! stands before its last `@` is in no sentence, however the text is misspelt, nor what stands behind the `?` of an address; and of a
//! field of HTTP only its name is.

use std::ffi::OsString;

use crate::config::text::user_part;

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// A sentence that may repeat some of these texts, or the end of one, without what stands before the `@` and behind the `?` there.
pub(super) fn without_secrets<'t>(mut sentence: String, texts: impl IntoIterator<Item = &'t str>) -> String {
    for text in texts {
        if let Some(user) = user_part(text) {
            hide(&mut sentence, user);
            hide(&mut sentence, &user.escape_debug().to_string());
        }
        if let Some(query) = query(text) {
            sentence = sentence.replace(query, "?…").replace(&query.escape_debug().to_string(), "?…");
        }
    }
    sentence
}

/// The query of what may be an address, with its `?`.
fn query(text: &str) -> Option<&str> {
    let (before, query) = text.split_at(text.find('?')?);
    let is_address = before.contains(':') || before.contains("//");
    (is_address && query.len() > 1).then_some(query)
}

/// The same of what the program was given.
pub(super) fn without_arguments(sentence: String, args: impl Iterator<Item = OsString>) -> String {
    let texts: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    without_secrets(sentence, texts.iter().map(String::as_str))
}

/// Hides what stands before each `@`, as far as it is the end of this.
fn hide(sentence: &mut String, user: &str) {
    let mut end = sentence.len();
    // The last first, since there may be one in a password.
    while let Some(at) = sentence.get(..end).and_then(|before| before.rfind('@')) {
        let same = sentence.get(..at).map_or(0, |before| same_end(before, user));
        end = at - same;
        if same > 0 {
            sentence.replace_range(end..at, HIDDEN);
        }
    }
}

/// How many bytes at the end of two texts are the same.
fn same_end(one: &str, other: &str) -> usize {
    let pairs = one.chars().rev().zip(other.chars().rev());
    pairs.take_while(|(one, other)| one == other).map(|(letter, _)| letter.len_utf8()).sum()
}

/// A text that should be a name, up to what separates names from values elsewhere: behind that may be a secret.
pub(super) fn name(text: &str) -> String {
    let end = text.find(|letter: char| letter.is_whitespace() || [':', '='].contains(&letter));
    let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let more = if end.is_some_and(|end| text.get(end..).is_some_and(|rest| rest.len() > 1)) { "…" } else { "" };
    if name.contains('@') { HIDDEN.to_owned() } else { format!("{}{more}", name.escape_debug()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_last_at_and_in_a_query_is_hidden_wherever_it_is_repeated() {
        for (text, sentence, shown) in [
            ("u:p@h/x", "--output u:p@h/x: write loki+http://u:p@h/x", "--output ***@h/x: write loki+http://***@h/x"),
            ("http://u:p@h/", "--output http://u:p@h/: no", "--output http://***@h/: no"),
            ("--output=http://u:p@h/", "--output http://u:p@h/: no", "--output http://***@h/: no"),
            ("u:a@b@h", "x u:a@b@h y", "x ***@h y"),
            ("u:p://x@h", "x u:p://x@h y", "x ***@h y"),
            ("p=u:p@h", "--poll p=u:p@h", "--poll ***@h"),
            ("file:u:p@h", "write u:p@h", "write ***@h"),
            ("u:\"é\n@h", "x u:\\\"é\\n@h: y", "x ***@h: y"),
            ("token@h", "token@h", "***@h"),
            ("lok://h/?a=\"b", "x lok://h/?a=\\\"b: write y://h/?a=\"b", "x lok://h/?…: write y://h/?…"),
            ("--poll=p=htp://h?t", "--poll p=htp://h?t: no?", "--poll p=htp://h?…: no?"),
            ("why?", "why?", "why?"),
            ("what?now", "--alert what?now", "--alert what?now"),
            ("./a@b", "./a@b is a file", "./a@b is a file"),
            ("/var/a@b", "/var/a@b is a file", "/var/a@b is a file"),
            ("a", "ask root@h", "ask root@h"),
            ("@h", "a@h @h", "a@h @h"),
            ("unix:@h", "--output unix:@h: no", "--output unix:@h: no"),
            ("unix:u:p@h", "--output unix:u:p@h: no", "--output unix:***@h: no"),
        ] {
            assert_eq!(without_secrets(sentence.to_owned(), [text]), shown, "{text}");
        }
    }

    #[test]
    fn of_a_field_only_its_name_is_shown() {
        for (text, shown) in [
            ("Authorization s3cret", "Authorization…"),
            ("Authorization: Basic s3cret", "Authorization…"),
            ("Authorization=s3cret", "Authorization…"),
            ("Authorization:s3cret", "Authorization…"),
            (" Authorization: s3cret", "…"),
            ("X-Scope-OrgID", "X-Scope-OrgID"),
            ("X-Scope-OrgID:", "X-Scope-OrgID"),
            ("s3cret@h", "***"),
            ("a\u{7}b", "a\\u{7}b"),
            ("", ""),
        ] {
            assert_eq!(name(text), shown, "{text}");
        }
    }
}
