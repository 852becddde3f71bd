//! Lines that somebody is told of (`--alert` and the options beside it).

use core::time::Duration;
use std::path::PathBuf;

use super::tls_out::TlsOptions;
use super::units::DisplayDuration;

/// Default of [`AlertOptions::every`]: a person is woken up once, and then hears how bad it is.
const DEFAULT_EVERY: Duration = Duration::from_secs(60);
/// The least that it may be.
const LEAST_EVERY: Duration = Duration::from_secs(1);
/// The most texts that are looked for: each line is looked at for each.
const MOST_PATTERNS: usize = 16;

/// What is looked for, and who is told, each named as its flag. [`AlertOptions::default`] is nothing and nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertOptions {
    /// The texts that lines may hold (`--alert`). Default none; at most 16.
    pub patterns: Vec<String>,
    /// Who is told (`--alert-url`). Default nobody.
    pub url: Option<String>,
    /// How often, after the first line, at most (`--alert-every`). Default 1 min; at least 1 s.
    pub every: Duration,
    /// Whether large and small letters of ASCII are the same (`--alert-ignore-case`). Default no.
    pub ignores_case: bool,
    /// A file of user names, passwords and tokens (`--http-auth`). Default none.
    pub auth: Option<PathBuf>,
    /// Whom connections over TLS trust, and who we are to them (`--tls-ca` and the like), by the feature `tls`.
    pub tls: TlsOptions,
}

impl Default for AlertOptions {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            url: None,
            every: DEFAULT_EVERY,
            ignores_case: false,
            auth: None,
            tls: TlsOptions::default(),
        }
    }
}

impl AlertOptions {
    /// Checks these options, but for what the URL is.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    pub fn validate(&self) -> Result<(), String> {
        let default = Self::default();
        for pattern in &self.patterns {
            if pattern.is_empty() || pattern.contains(['\n', '\r']) {
                let shown = pattern.escape_debug();
                return Err(format!(
                    "--alert {shown}: give a text that a line may hold, such as --alert 'out of memory'"
                ));
            }
        }
        if self.patterns.len() > MOST_PATTERNS {
            return Err(format!("too many texts to look for: at most {MOST_PATTERNS} --alert are possible"));
        }
        if self.every < LEAST_EVERY {
            return Err(format!("--alert-every is {}: give 1s or more", DisplayDuration(self.every)));
        }
        if !self.patterns.is_empty() && self.url.is_none() {
            return Err("--alert needs somebody to tell: give --alert-url http://HOST:PORT/PATH".to_owned());
        }
        for (flag, is_given) in [
            ("--alert-url", self.url.is_some()),
            ("--alert-every", self.every != default.every),
            ("--alert-ignore-case", self.ignores_case),
        ] {
            if is_given && self.patterns.is_empty() {
                return Err(format!(
                    "{flag} is about texts that are looked for, and there is none: give --alert, or leave it out"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_alerts_that_make_no_sense_are_refused_by_name() {
        let some = || AlertOptions {
            patterns: vec!["error".to_owned()],
            url: Some("http://gw/".to_owned()),
            ..AlertOptions::default()
        };
        assert_eq!((some().validate(), AlertOptions::default().validate()), (Ok(()), Ok(())));
        for (options, sentence) in [
            (AlertOptions { patterns: vec![String::new()], ..some() }, "--alert : give a text that a line may hold"),
            (AlertOptions { patterns: vec!["a\nb".to_owned()], ..some() }, "--alert a\\nb: give a text"),
            (AlertOptions { patterns: vec!["a".to_owned(); 17], ..some() }, "too many texts to look for"),
            (AlertOptions { every: Duration::from_millis(999), ..some() }, "--alert-every is 999ms: give 1s or more"),
            (AlertOptions { url: None, ..some() }, "--alert needs somebody to tell"),
            (AlertOptions { patterns: Vec::new(), ..some() }, "--alert-url is about texts"),
            (AlertOptions { ignores_case: true, ..AlertOptions::default() }, "--alert-ignore-case is about texts"),
        ] {
            let error = options.validate().unwrap_err();
            assert!(error.starts_with(sentence), "{error}");
        }
    }
}
