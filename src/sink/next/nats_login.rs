//! Who we are to the servers of a stream (`--nats-creds`): read at the start, again at SIGHUP, and before the next try once a server
//! did not take it. Invariant: a file that can't be read again leaves in use what was read before, and that is said once.

use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::text::{as_text, escaped};
use crate::host::{OpenFor, behind_it};
use crate::nats::credentials::Credentials;

/// The longest file of credentials.
const MOST_BYTES: u64 = 64 * 1024;
/// Others may read it.
const BY_OTHERS: u32 = 0o044;

/// A file of credentials, or none.
#[derive(Default)]
pub(super) struct Login {
    path: Option<PathBuf>,
    /// A server did not take what was read last.
    is_refused: bool,
    /// Why the last reading came to nothing; empty if it did not.
    fault: String,
    /// What is to be said of it.
    unsaid: Vec<String>,
}

impl Login {
    /// Reads the file for the first time, if there is one.
    ///
    /// # Errors
    /// It can't be read, or is none, in a sentence.
    pub(super) fn open(path: Option<&Path>) -> io::Result<(Self, Option<Credentials>)> {
        let mut login = Self { path: path.map(Path::to_owned), ..Self::default() };
        let credentials = path.map(credentials_of).transpose()?;
        login.look_at_mode();
        Ok((login, credentials))
    }

    /// SIGHUP: reads it again, and says what is wrong with it however often that was said.
    pub(super) fn reload(&mut self) -> Option<Credentials> {
        self.fault.clear();
        self.look_at_mode();
        self.read()
    }

    /// A server did not take what was read last.
    pub(super) fn refused(&mut self) {
        self.is_refused = true;
    }

    /// Before a connection is made: reads it again if what was read last was refused since.
    pub(super) fn before_connect(&mut self) -> Option<Credentials> {
        if mem::take(&mut self.is_refused) { self.read() } else { None }
    }

    /// What the last reading came to, each a sentence for the log.
    pub(super) fn take_unsaid(&mut self) -> Vec<String> {
        mem::take(&mut self.unsaid)
    }

    fn read(&mut self) -> Option<Credentials> {
        match credentials_of(self.path.as_ref()?) {
            Ok(credentials) => {
                self.fault.clear();
                Some(credentials)
            }
            Err(error) => {
                let fault = as_text(&error);
                if fault != self.fault {
                    self.unsaid.push(format!("{fault}; what was read before is used"));
                    self.fault = fault;
                }
                None
            }
        }
    }

    fn look_at_mode(&mut self) {
        if let Some(path) = &self.path
            && fs::metadata(path).is_ok_and(|found| found.mode() & BY_OTHERS != 0)
        {
            let shown = escaped(&path.to_string_lossy());
            self.unsaid.push(format!("--nats-creds {shown} can be read by others: chmod 600 it"));
        }
    }
}

/// Reads a file of credentials.
///
/// # Errors
/// It can't be read, or is none, in a sentence.
pub(crate) fn credentials_of(path: &Path) -> io::Result<Credentials> {
    let unreadable = |error: io::Error| format!("{error}{}", behind_it(&error, path, OpenFor::Reading));
    let text = match fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() <= MOST_BYTES => fs::read_to_string(path).map_err(unreadable),
        Ok(_) => Err("it is no file of a few lines: give one with user = … and password = …, or token = …".to_owned()),
        Err(error) => Err(unreadable(error)),
    };
    let read = text.and_then(|text| Credentials::read(&text).map_err(|error| as_text(&error)));
    read.map_err(|why| io::Error::other(format!("--nats-creds {}: {why}", escaped(&path.to_string_lossy()))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_is_corrected_is_read_again_and_one_that_is_spoilt_is_said_once() {
        let path = std::env::temp_dir().join(format!("lumberjack-login-{}", std::process::id()));
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let token = |text: &str| Some(Credentials::token(text.to_owned()));
        write("token = one", 0o600);
        let (mut login, read) = Login::open(Some(&path)).unwrap();
        assert_eq!((read == token("one"), login.take_unsaid().len()), (true, 0));
        // Not before it is refused or asked for.
        write("token = two", 0o600);
        assert!(login.before_connect().is_none());
        login.refused();
        assert!(login.before_connect() == token("two") && login.before_connect().is_none());
        // What is wrong with it is said once, but for a SIGHUP.
        write("tokn = s3cret", 0o600);
        for said in [1, 0, 0] {
            login.refused();
            assert!(login.before_connect().is_none());
            assert_eq!(login.take_unsaid().len(), said);
        }
        write("tokn = s3cret", 0o644);
        assert!(login.reload().is_none());
        let shown = path.display();
        let [mode, fault] = &login.take_unsaid()[..] else { panic!("two sentences") };
        assert_eq!(*mode, format!("--nats-creds {shown} can be read by others: chmod 600 it"));
        assert!(fault.starts_with(&format!("--nats-creds {shown}: line 1 is none of: ")), "{fault}");
        assert!(fault.ends_with("; what was read before is used") && !fault.contains("s3cret"), "{fault}");
        // Nor is one that is gone of any use, until it is back.
        fs::remove_file(&path).unwrap();
        login.refused();
        assert_eq!((login.before_connect().is_none(), login.take_unsaid().len()), (true, 1));
        write("token = three", 0o600);
        login.refused();
        assert_eq!((login.before_connect() == token("three"), login.take_unsaid().len()), (true, 0));
        fs::remove_file(&path).unwrap();
        // Without a file nothing is read.
        let (mut login, read) = Login::open(None).unwrap();
        login.refused();
        assert!(read.is_none() && login.before_connect().is_none() && login.reload().is_none());
    }
}
