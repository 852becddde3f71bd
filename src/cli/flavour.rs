//! What `--version` says: which flavour this build is (`dist/flavour`), and what it was built with.

/// The features that the program can have, and whether it has them, in the order of the alphabet.
const FEATURES: &[(&str, bool)] = &[
    ("alert", cfg!(feature = "alert")),
    ("calendar", cfg!(feature = "calendar")),
    ("compress", cfg!(feature = "compress")),
    ("nats", cfg!(feature = "nats")),
    ("nkey", cfg!(feature = "nkey")),
    ("poll", cfg!(feature = "poll")),
    ("push", cfg!(feature = "push")),
    ("sandbox", cfg!(feature = "sandbox")),
    ("spool", cfg!(feature = "spool")),
    ("status", cfg!(feature = "status")),
    ("syslog", cfg!(feature = "syslog")),
    ("tls", cfg!(feature = "tls")),
    ("udp", cfg!(feature = "udp")),
];

/// Those of the flavour core, and those that are no default; the rest are in full.
const CORE: &[&str] = &["sandbox"];
const EXTRA: &[&str] = &["nkey", "tls"];

/// `lumberjack VERSION`, and a line about the build.
pub(super) fn version() -> String {
    let has = |name: &&(&str, bool)| name.1;
    let names: Vec<&str> = FEATURES.iter().filter(has).map(|feature| feature.0).collect();
    let list = if names.is_empty() { "nothing more".to_owned() } else { names.join(" ") };
    format!(concat!("lumberjack ", env!("CARGO_PKG_VERSION"), "\nflavour {}: {}\n"), flavour(), list)
}

/// The name of the choice, if it has one.
fn flavour() -> &'static str {
    let all = |wanted: fn(&str) -> bool| FEATURES.iter().all(|&(name, is_in)| is_in == wanted(name));
    if all(|name| !EXTRA.contains(&name)) {
        "full"
    } else if all(|name| name == "tls" || !EXTRA.contains(&name)) {
        "tls"
    } else if all(|name| CORE.contains(&name)) {
        "core"
    } else {
        "of its own"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The features of Cargo.toml, each with what it brings.
    fn features() -> Vec<(&'static str, &'static str)> {
        let (_, rest) = include_str!("../../Cargo.toml").split_once("[features]\n").unwrap();
        let (features, _) = rest.split_once("\n[").unwrap();
        features.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")).collect()
    }

    #[test]
    fn every_feature_of_the_program_is_named_and_full_is_the_default() {
        let features = features();
        let (_, default) = features.iter().find(|feature| feature.0 == "default").unwrap();
        // The program itself, and what features share.
        let no_choice = ["default", "cli", "http"];
        let mut choices: Vec<_> = features.iter().map(|feature| feature.0).collect();
        choices.retain(|name| !no_choice.contains(name));
        choices.sort_unstable();
        assert_eq!(FEATURES.iter().map(|feature| feature.0).collect::<Vec<_>>(), choices);
        for name in choices {
            assert_eq!(default.contains(&format!("{name:?}")), !EXTRA.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_version_is_followed_by_the_flavour() {
        let text = version();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], concat!("lumberjack ", env!("CARGO_PKG_VERSION")));
        let expected = match (cfg!(feature = "spool"), cfg!(feature = "tls")) {
            (false, _) => "flavour core: ",
            (true, false) => "flavour full: alert calendar compress nats poll push ",
            (true, true) => "flavour tls: alert calendar compress nats poll push ",
        };
        // Other choices than the three flavours have their own word.
        assert!(lines[1].starts_with(expected) || lines[1].starts_with("flavour of its own: "), "{text}");
        assert_eq!(lines.len(), 2);
    }
}
