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
        // First, as there may be an `@` in it.
        if let Some(query) = query(text) {
            sentence = sentence.replace(query, "?…").replace(&query.escape_debug().to_string(), "?…");
        }
        if let Some(user) = user_part(text) {
            hide(&mut sentence, [user, &user.escape_debug().to_string()]);
        }
    }
    sentence
}

/// The query of what may be an address, with its `?`: of one without a scheme, that has a `=` in it.
fn query(text: &str) -> Option<&str> {
    let (before, query) = text.split_at(text.find('?')?);
    let is_address = before.contains(':') || before.contains("//") || before.contains('/') && query.contains('=');
    let is_query = query.contains('=') || !query.contains(char::is_whitespace);
    (is_address && is_query && query.len() > 1).then_some(query)
}

/// The same of what the program was given.
pub(super) fn without_arguments(sentence: String, args: impl Iterator<Item = OsString>) -> String {
    let texts: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    without_secrets(sentence, texts.iter().map(String::as_str))
}

/// Hides what stands before each `@`, as far as it is the end of this, as it was given or with escapes.
fn hide(sentence: &mut String, users: [&str; 2]) {
    let mut end = sentence.len();
    // The last first, since there may be one in a password.
    while let Some(at) = sentence.get(..end).and_then(|before| before.rfind('@')) {
        let before = sentence.get(..at).unwrap_or_default();
        let same = users.into_iter().map(|user| same_end(before, user)).max().unwrap_or_default();
        end = at - same;
        if same > 0 {
            sentence.replace_range(end..at, HIDDEN);
        }
    }
}

/// How many bytes at the end of a sentence are those of a text, or of its end from behind a sign on: a letter alone is in many words.
fn same_end(sentence: &str, text: &str) -> usize {
    let is_sign = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
    let (mut same, mut longest) = (0, 0);
    let (mut in_sentence, mut in_text) = (sentence.chars().rev(), text.chars().rev());
    loop {
        match (in_sentence.next(), in_text.next()) {
            (Some(one), Some(other)) if one == other => same += one.len_utf8(),
            // As far as both go, and before that from signs on.
            (one, other) => return if other.is_none() || is_sign(one) && is_sign(other) { same } else { longest },
        }
        let rest = |text: &str| text.get(..text.len() - same).unwrap_or_default().chars().next_back();
        if is_sign(rest(sentence)) && is_sign(rest(text)) {
            longest = same;
        }
    }
}

/// A text that should be a name, up to the first sign that no name has: behind that may be a secret.
pub(super) fn name(text: &str) -> String {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && !['-', '_', '.', '@'].contains(&letter));
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
            ("token@h", "token@h is a file", "token@h is a file"),
            ("logs/app@home.log", "no logs/app@home.log", "no logs/app@home.log"),
            ("unix:/nodir/log@1.sock", "on unix:/nodir/log@1.sock", "on unix:/nodir/log@1.sock"),
            ("http:/token@h", "x http:/token@h: no", "x ***@h: no"),
            ("http://admin:secret@h:1", "no /nodir/target@h.log", "no /nodir/target@h.log"),
            ("http://u:p@h:1", "no ./nodir/app@home.log", "no ./nodir/app@home.log"),
            ("nats:/u:s3\"cret@h", "--output nats:/u:s3\\\"cret@h: no", "--output ***@h: no"),
            ("http:/u:it's3cret@h/", "--output http:/u:it\\'s3cret@h/: no", "--output ***@h/: no"),
            ("u:s3cret\u{1}x@h", "x u:s3cret\\u{1}x@h", "x ***@h"),
            ("htp://h/?u=me@c&t=s3cret", "x htp://h/?u=me@c&t=s3cret: no", "x htp://h/?…: no"),
            ("p=192.0.2.7/log?token=s3cret", "--poll p=192.0.2.7/log?token=s3cret: no", "--poll p=192.0.2.7/log?…: no"),
            ("x:? ", "cannot write to nodir/why? no.log", "cannot write to nodir/why? no.log"),
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
            ("Authorization;s3cret", "Authorization…"),
            ("\"Authorization: s3cret\"", "…"),
            ("a\u{7}b", "a…"),
            ("", ""),
        ] {
            assert_eq!(name(text), shown, "{text}");
        }
    }
}
