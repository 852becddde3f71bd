//! A fifo or a device that has a file's name. It is opened anew as a file is: when that is asked for (SIGHUP), and when
//! somebody removed it and put another in its place; a fifo without a name is read by nobody any more. What is there then
//! is taken as at a start, be it a file.
//! Invariant: each line is whole in what was there before, or in what is there now.

use std::mem;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::log_file::LogFile;
use super::path::not_opened_anew;
use super::single::SingleFile;
use crate::config::output::OutputOptions;
use crate::sink::Interest;
use crate::sink::pace::{Backoff, LONGEST_PAUSE};
use crate::sink::stream::descriptor::Descriptor;
use crate::sink::target::{Books, DIRECT_BYTES, KEPT_BYTES, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, len_of};

/// What is at a path.
pub(super) enum Found {
    Special(Descriptor),
    File(Box<SingleFile>),
}

impl Found {
    /// Opens it; a file that is not there is made.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn open(path: &Path, options: &OutputOptions, books: &mut Books) -> std::io::Result<Self> {
        if let Some(descriptor) = Descriptor::open_special(path)? {
            return Ok(Self::Special(descriptor));
        }
        let file = LogFile::new(path, options, KEPT_BYTES);
        Ok(Self::File(Box::new(SingleFile::open(file, path, options, books)?)))
    }
}

#[derive(Debug, Clone, Copy)]
enum Reopening {
    No,
    Asked,
    /// It was tried, and failed: the old one is used as long as it takes lines.
    Failed(Backoff),
}

/// What was no file when we started.
pub(super) struct Special {
    path: PathBuf,
    options: OutputOptions,
    open: Found,
    reopening: Reopening,
    /// The time of the last write.
    now: Duration,
    /// How many of them were delivered before the last reopening.
    before: u64,
    /// How many of those the one that is open now got again: the start of a line that the old one has no end of.
    again: u64,
}

impl Special {
    pub(super) fn new(open: Descriptor, path: &Path, options: &OutputOptions) -> Self {
        let (path, options, open) = (path.to_owned(), options.clone(), Found::Special(open));
        Self { path, options, open, reopening: Reopening::No, now: Duration::ZERO, before: 0, again: 0 }
    }

    fn target(&self) -> &dyn Target {
        match &self.open {
            Found::Special(descriptor) => descriptor,
            Found::File(file) => &**file,
        }
    }

    fn target_mut(&mut self) -> &mut dyn Target {
        match &mut self.open {
            Found::Special(descriptor) => descriptor,
            Found::File(file) => &mut **file,
        }
    }

    fn reopens(&self, now: Duration) -> bool {
        // A file opens itself anew.
        matches!(self.open, Found::Special(_))
            && match self.reopening {
                Reopening::No => false,
                Reopening::Asked => true,
                Reopening::Failed(backoff) => backoff.is_due(now),
            }
    }

    /// Bytes that what is open has taken, if it is still no file.
    fn taken_since(&self) -> u64 {
        if let Found::Special(descriptor) = &self.open { descriptor.taken() } else { 0 }
    }

    /// Takes what was put in place of what we have open; nobody has to say so, as nobody has to of a file.
    #[inline(always)] // each write comes here
    fn reopen_if_replaced(&mut self, books: &mut Books) {
        if matches!(&self.open, Found::Special(descriptor) if descriptor.may_be_replaced()) {
            self.look_whether_replaced(books);
        }
    }

    #[inline(never)] // with a system call
    fn look_whether_replaced(&mut self, books: &mut Books) {
        let Found::Special(descriptor) = &self.open else { return };
        if matches!(self.reopening, Reopening::No) && descriptor.is_replaced_at(&self.path) {
            self.reopen_now(self.now, books);
        }
    }

    /// Takes what is at the path now; false if that can't be opened.
    fn reopen_now(&mut self, now: Duration, books: &mut Books) -> bool {
        let Standing { delivered, .. } = self.standing();
        let taken = self.before + self.taken_since().saturating_sub(self.again);
        match Found::open(&self.path, &self.options, books) {
            Ok(open) => {
                let old = mem::replace(&mut self.open, open);
                let waiting = if let Found::Special(old) = old { old.into_waiting() } else { Vec::new() };
                self.before = delivered;
                self.again = waiting.len() as u64 - (taken - delivered);
                self.reopening = Reopening::No;
                self.target_mut().take(Whose::Mark, [b"", &waiting, b""], false, books);
                true
            }
            Err(error) => {
                self.reopening = Reopening::Failed(match self.reopening {
                    Reopening::Failed(backoff) => backoff.again(now, LONGEST_PAUSE),
                    _ => {
                        not_opened_anew(&self.path, &error, books);
                        Backoff::begin(now)
                    }
                });
                false
            }
        }
    }
}

impl Target for Special {
    // What each line comes to asks here which of the two it is: through a pointer to either it takes three times as much.
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        // A large block is written at once.
        if may_write && len_of(parts) >= DIRECT_BYTES {
            self.reopen_if_replaced(books);
        }
        match &mut self.open {
            Found::Special(descriptor) => descriptor.take(whose, parts, may_write, books),
            Found::File(file) => file.take(whose, parts, may_write, books),
        }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> std::io::Result<Wrote> {
        self.now = now;
        self.reopen_if_replaced(books);
        // First, so that who was told that the old one got all finds it complete.
        let written = match &mut self.open {
            Found::Special(descriptor) => descriptor.write(now, books),
            Found::File(file) => file.write(now, books),
        };
        if self.reopens(now) && self.reopen_now(now, books) { self.target_mut().write(now, books) } else { written }
    }

    fn standing(&self) -> Standing {
        let standing = match &self.open {
            Found::Special(descriptor) => descriptor.standing(),
            Found::File(file) => file.standing(),
        };
        Standing { delivered: self.before + standing.delivered.saturating_sub(self.again), ..standing }
    }

    fn waiting(&self) -> usize {
        match &self.open {
            Found::Special(descriptor) => descriptor.waiting(),
            Found::File(file) => file.waiting(),
        }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.target_mut().drop_lines()
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let Found::Special(descriptor) = &self.open else { return self.target().due_in(now) };
        match self.reopening {
            Reopening::No => descriptor.due_in(now),
            Reopening::Asked => Some(Duration::ZERO),
            Reopening::Failed(backoff) => Some(backoff.retry_at().saturating_sub(now)),
        }
    }

    fn may_change(&self) -> bool {
        true
    }

    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        self.target_mut().unwatched()
    }

    fn ready(&mut self, is_gone: bool) -> bool {
        self.target_mut().ready(is_gone)
    }

    fn try_now(&mut self) {
        if let Reopening::Failed(backoff) = &mut self.reopening {
            *backoff = backoff.at_once();
        }
        self.target_mut().try_now();
    }

    fn configure(&mut self, options: &OutputOptions, books: &mut Books) {
        // What is opened in its place keeps to them too.
        self.options.renew(options);
        self.target_mut().configure(options, books);
    }

    fn reopen(&mut self) {
        if matches!(&self.open, Found::Special(descriptor) if descriptor.is_torn_at(&self.path)) {
            return;
        }
        self.reopening = Reopening::Asked;
        self.target_mut().reopen();
    }

    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        self.target_mut().settle(now, books)
    }
}
