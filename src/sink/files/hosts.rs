//! A file for each name that is made of what is known of a line: `{host}`, `{app}` and so on. Invariant: there are never more
//! files than `--host-files` and one, each with its rotated ones, nor more of them open at rest than [`most_open`], and as many
//! again while they are synced; and what one of them can't do holds up nobody whose lines don't go there.

mod earlier;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::earlier::{note_rotated, settle};
use super::compress::Compressor;
use super::dated::with_days;
use super::dates::Dated;
use super::lane::Lane;
use super::log_file::LogFile;
use super::names::Names;
use super::noted;
use super::opener::Opener;
use super::path::shown;
use super::rotate::{is_disk_full, remove};
use super::single::{note_sync, syncs_of};
use super::sync::{Syncs, most_descriptors};
use crate::config::output::{DiskFull, OutputOptions};
use crate::config::units::soonest;
use crate::engine::gap::Gap;
use crate::engine::peer::Host;
use crate::host::descriptor_limit;
use crate::linux::is_descriptor_shortage;
use crate::sink::Welcome;
use crate::sink::place::Identity;
use crate::sink::said::Said;
use crate::sink::target::{Books, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, len_of};

/// Files that stay open while nothing waits for them: a descriptor each, and some memory of the kernel. Opening one
/// costs as much as writing some lines; with `--sync`, one that is closed may be synced early.
const MOST_OPEN: usize = 256;
/// Descriptors that are left to the rest of the process, and to what other outputs can't do without, whatever the limit is.
const OTHER_DESCRIPTORS: usize = 24;
/// The share of those beyond that files may take, so that clients get in whatever the limit is.
const SHARE_OF_DESCRIPTORS: usize = 4;
/// How many are closed at once: finding those that were used least recently costs a look at all.
const CLOSED_AT_ONCE: usize = 16;
/// What all of them together may gather (`--flush-every`) before all is written.
pub(super) const MOST_GATHERED: usize = 256 * 1024;

/// What it takes to list a host at a file whose lines several may send; twice, as the list doubles when it grows.
pub(super) const HOST_BYTES: usize = 2 * size_of::<Host>();

/// Of files that can't be written at the same time, so many are named, or hundreds of them would hide what else is to be
/// said of this output.
const MOST_NAMED: usize = 2;

/// The files.
pub(super) struct HostFiles {
    names: Names,
    name: String,
    options: OutputOptions,
    removes_when_full: bool,
    most_open: usize,
    /// The names that have a file, that of all others among them.
    known: noted::Names,
    /// The name of all others.
    others: String,
    /// Of whom lines came last, what they said, and the name that this makes.
    last: Option<(Host, Said)>,
    last_name: String,
    /// The files that are open, or have lines that wait, by name.
    lanes: Vec<Lane>,
    /// How many hosts they list, if several may send to one of them.
    listed: usize,
    syncs: Option<Syncs>,
    compressor: Option<Compressor>,
    taken: u64,
    waiting: usize,
    /// The position up to which all is written, if something waits; what files that are behind have not written apart.
    written: u64,
    /// A position that is to be the next: when each file has written up to its own mark.
    checkpoint: u64,
    /// The time of the last write.
    now: Duration,
    /// What [`Target::due_in`] says: when a file is to be written to though nothing came.
    due_at: Option<Duration>,
    /// What is missing from whose file, and is to be marked there.
    gaps: VecDeque<(String, Gap)>,
    /// The file that gets the next mark.
    marked: String,
    /// How many hosts are held up.
    held_up: usize,
    /// How many files are behind: they could not be written, and the others are counted without them.
    behind: usize,
    /// Grows when a host is held up or behind no more.
    releases: u64,
    /// Somebody was told that names have to share a file.
    has_told: bool,
}

/// How many files stay open at rest.
pub(super) fn most_open(options: &OutputOptions) -> usize {
    let allowed = usize::try_from(descriptor_limit()).unwrap_or(usize::MAX);
    let syncs = if most_descriptors(options.sync) > 0 { 2 } else { 1 };
    let share = allowed.saturating_sub(OTHER_DESCRIPTORS) / SHARE_OF_DESCRIPTORS / syncs;
    MOST_OPEN.min(options.host_files.saturating_add(1)).min(share).max(1)
}

impl HostFiles {
    /// Finds the files that are there already: they count. Rotated ones beyond what is to be kept are removed; of names that
    /// senders choose, when lines come for them.
    ///
    /// # Errors
    /// The directory can't be read, or no files be made in it.
    pub(super) fn open(pattern: &Path, options: &OutputOptions, books: &mut Books) -> io::Result<Self> {
        let names = Names::new(pattern, options.syslog.is_some_and(|syslog| syslog.trust_host));
        let opener = Opener::new(options);
        if opener.makes_folder(&names.trial())? {
            books.report(format_args!("made the directory of {}", shown(pattern)));
        }
        opener.check_folder(&names.trial(), is_disk_full)?;
        if let Some(obstacle) = names.in_the_way(options.rotates())? {
            books.report(format_args!("{obstacle}"));
        }
        let options = if names.is_dated() { with_days(options) } else { options.clone() };
        let (mut known, mut compressor) = (noted::Names::default(), Compressor::new(&options));
        let is_settled = !names.is_said() && !names.is_dated();
        for path in if is_settled { names.unfinished()? } else { Vec::new() } {
            remove(&path)?;
        }
        settle(&names, &options, &|_| is_settled, books, &mut |name, number| {
            if is_settled {
                note_rotated(&mut compressor, &names, &options, (&name, number));
            }
            known.find(name, is_settled);
        })?;
        known.find(names.others(), is_settled);
        Ok(Self {
            name: shown(pattern),
            // The oldest file of all is removed here, not that of the one who met the full disk.
            removes_when_full: options.disk_full == DiskFull::DropOldest,
            most_open: most_open(&options),
            syncs: syncs_of(&options),
            options: OutputOptions { disk_full: DiskFull::Wait, ..options },
            compressor,
            known,
            others: names.others(),
            names,
            last: None,
            last_name: String::new(),
            lanes: Vec::new(),
            listed: 0,
            taken: 0,
            waiting: 0,
            written: 0,
            checkpoint: 0,
            now: Duration::ZERO,
            due_at: None,
            gaps: VecDeque::new(),
            marked: String::new(),
            held_up: 0,
            behind: 0,
            releases: 0,
            has_told: false,
        })
    }

    /// Device and number of the directory, and the names below it: what tells whether two outputs write to the same files.
    pub(super) fn identity(&self) -> Option<Identity> {
        let found = fs::metadata(self.names.folder()).ok()?;
        Some((found.dev(), found.ino(), self.names.pattern().into()))
    }

    /// Where in the list the file is that these lines of a host go to.
    fn place_for(&mut self, host: Host, said: &Said, books: &mut Books) -> usize {
        let is_same = |last: &(Host, Said)| last.0 == host && (!self.names.is_said() || last.1 == *said);
        if !self.last.as_ref().is_some_and(is_same) {
            self.last = Some((host, *said));
            self.names.put(host, said, &mut self.last_name);
        }
        let at = match self.find(&self.last_name) {
            Ok(at) => at,
            Err(_) => self.place_of_new(host, books),
        };
        if self.names.is_said()
            && let Some(lane) = self.lanes.get_mut(at)
        {
            let before = lane.hosts.len();
            lane.list(host);
            self.listed = self.listed + lane.hosts.len() - before;
        }
        at
    }

    /// The same for a name whose file is not open.
    fn place_of_new(&mut self, host: Host, books: &mut Books) -> usize {
        let most = self.options.host_files;
        if self.known.admit(&self.last_name, most + 1) {
            let at = self.place_of(&self.last_name.clone());
            if let Some(lane) = self.lanes.get_mut(at).filter(|_| !self.names.is_said()) {
                lane.hosts = vec![host];
            }
            return at;
        }
        if !mem::replace(&mut self.has_told, true) {
            let what = if self.names.is_said() { "names" } else { "hosts" };
            books.report(format_args!("{most} {what} have a file: further ones share one; --host-files sets it"));
        }
        self.find(&self.others).unwrap_or_else(|_| self.place_of(&self.others.clone()))
    }

    #[inline(never)] // one copy, for size
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.lanes.binary_search_by(|lane| (*lane.name).cmp(name))
    }

    /// Where in the list the file of a name is, which need not be open yet.
    fn place_of(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|at| {
            let path = self.names.path_of(name);
            let mut file = match self.names.is_dated() {
                // It knows itself which day it is.
                true => LogFile::dated(Dated::new(&path), &self.options, 0),
                false => LogFile::new(&path, &self.options, 0),
            };
            file.makes_folders(self.names.levels());
            let noted = self.known.get(name);
            file.settles_later(noted.is_some_and(|noted| !noted.is_settled));
            if let Some(noted) = noted.filter(|_| !self.names.is_dated()) {
                file.set_known(noted.known);
            }
            self.lanes.insert(at, Lane::new(name.to_owned(), file, !self.names.is_said(), &self.options));
            at
        })
    }

    fn close_some(&mut self, books: &mut Books) {
        let most = self.most_open;
        let count = self.lanes.iter().filter(|lane| lane.file.is_open()).count();
        if count > most {
            self.close_least_used(count - most.saturating_sub(CLOSED_AT_ONCE.min(most / 4)), books);
        }
    }

    /// Closes so many files, the least recently used first; false if there was none to close.
    fn close_least_used(&mut self, count: usize, books: &mut Books) -> bool {
        for closed in 0..count {
            let closable = self.lanes.iter_mut().filter(|lane| lane.file.is_closable());
            let Some(oldest) = closable.min_by_key(|lane| lane.used) else { return closed > 0 };
            oldest.file.close();
            let name = oldest.name.clone();
            if let Ok(at) = self.find(&name) {
                self.hand_over(at, books);
            }
        }
        true
    }

    /// What the file at this place in the list has left is to be synced: at once, if that is too much already.
    fn hand_over(&mut self, at: usize, books: &mut Books) {
        let Some(lane) = self.lanes.get_mut(at) else { return };
        if let Some(compressor) = &mut self.compressor {
            lane.file.take_rotated().into_iter().for_each(|files| compressor.note(files));
        }
        let Some(syncs) = &mut self.syncs else { return };
        lane.file.hand_over(syncs);
        if syncs.is_crowded() {
            self.sync(books);
        }
    }

    fn sync(&mut self, books: &mut Books) {
        let written = self.written();
        let (Some(syncs), lanes) = (&mut self.syncs, &mut self.lanes) else { return };
        let mut dirty = || lanes.iter_mut().filter_map(|lane| lane.file.dirty()).collect();
        if let Some(error) = note_sync(syncs.go_on(self.now, written, &mut dirty), &self.name, books) {
            // It may be that of any of them.
            self.lanes.iter_mut().for_each(|lane| lane.file.distrust(&error));
        }
    }

    fn compress(&mut self, books: &mut Books) {
        self.compressor.iter_mut().for_each(|compressor| compressor.go_on(self.now, books));
    }

    /// What is closed and has nothing to write is known by its name alone.
    fn forget_closed(&mut self) {
        let known = &mut self.known;
        self.lanes.retain(|lane| {
            let is_at_rest = lane.is_at_rest();
            if is_at_rest && let Some(noted) = known.get_mut(&lane.name) {
                noted.known = lane.file.known();
            }
            !is_at_rest
        });
    }

    /// Writes the file at this place in the list, and cures what keeps it from being written: other files are closed if no
    /// descriptor is left, and if the disk is full, a file that is being compressed gives its room up, and then the oldest
    /// rotated ones go if they may. What can't be cured is said, and
    /// keeps no other file from being written.
    fn write_one(&mut self, at: usize, may_remove: &mut bool, books: &mut Books) {
        let mut may_close = true;
        loop {
            let Some(lane) = self.lanes.get_mut(at) else { return };
            let (before, was_open) = (lane.file.waiting(), lane.file.is_open());
            let written = lane.write(self.now, books);
            self.waiting = self.waiting + lane.file.waiting() - before;
            let needed = lane.file.waiting();
            if !was_open && lane.file.is_open() {
                self.close_some(books);
            }
            self.hand_over(at, books);
            match written {
                Ok(()) => {
                    *may_remove = self.removes_when_full;
                    return self.note_success(at, books);
                }
                Err(error) if is_descriptor_shortage(&error) && mem::take(&mut may_close) => {
                    if self.close_least_used(CLOSED_AT_ONCE, books) {
                        continue;
                    }
                    return self.note_failure(at, &error, books);
                }
                Err(error) if is_disk_full(&error) && self.gives_way(books) => {}
                Err(error) if is_disk_full(&error) && mem::replace(may_remove, false) => {
                    if self.remove_oldest(at, needed, books) {
                        continue;
                    }
                    return self.note_failure(at, &error, books);
                }
                Err(error) => return self.note_failure(at, &error, books),
            }
        }
    }

    fn gives_way(&mut self, books: &mut Books) -> bool {
        self.compressor.as_mut().is_some_and(|compressor| compressor.give_way(books))
    }

    fn note_success(&mut self, at: usize, books: &mut Books) {
        let Some(lane) = self.lanes.get_mut(at) else { return };
        if let Some(missed) = lane.succeed(books) {
            self.gaps.push_back((lane.name.clone(), missed));
        }
    }

    fn note_failure(&mut self, at: usize, error: &io::Error, books: &mut Books) {
        let others = self.lanes.iter().filter(|lane| lane.is_failing()).take(MOST_NAMED).count();
        let Some(lane) = self.lanes.get_mut(at) else { return };
        lane.fail(self.now, error, others >= MOST_NAMED, books);
        self.due_at = Some(self.now);
    }

    /// The position up to which all is written.
    fn written(&self) -> u64 {
        if self.waiting == 0 { self.taken } else { self.written }
    }

    /// While some file always waits on purpose, all is written up to the last checkpoint that every file has passed. A file
    /// that can't be written is left behind.
    fn note_written(&mut self) {
        let has_passed = |lane: &Lane| lane.file.written() >= lane.mark || lane.is_stuck();
        if self.lanes.iter().all(|lane| lane.file.waiting() == 0 || lane.is_stuck()) {
            (self.written, self.checkpoint) = (self.taken, self.taken);
        } else if self.lanes.iter().all(has_passed) {
            (self.written, self.checkpoint) = (self.checkpoint, self.taken);
        } else {
            return;
        }
        for lane in &mut self.lanes {
            lane.mark = lane.file.taken();
            if lane.is_stuck() {
                lane.leave_behind();
            }
        }
    }

    /// Which files have caught up, and who has no lines in one any more.
    fn catch_up(&mut self) {
        self.behind = 0;
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_behind()) {
            let has_caught_up = lane.catch_up(&mut self.syncs);
            self.releases += u64::from(has_caught_up);
            self.behind += usize::from(!has_caught_up);
        }
        if self.names.is_said() {
            self.lanes.iter_mut().for_each(Lane::forget_hosts);
            self.listed = self.lanes.iter().map(|lane| lane.hosts.len()).sum();
        }
    }

    /// The files that may hold lines of a host, of those that are open or have lines that wait.
    fn lanes_of(&self, host: Host) -> impl Iterator<Item = &Lane> {
        let has_some = move |lane: &Lane| lane.hosts.binary_search(&host).is_ok();
        // A host that has no file of its own may have to share one.
        let shares = !self.names.is_said() && !self.lanes.iter().any(has_some) && {
            let mut name = String::new();
            self.names.put(host, &Said::NOTHING, &mut name);
            !self.known.would_admit(&name, self.options.host_files + 1)
        };
        self.lanes.iter().filter(move |lane| if shares { lane.name == self.others } else { has_some(lane) })
    }

    /// Files that stand still too long are passed over, and who is held up is counted.
    fn pass_over(&mut self, books: &mut Books) {
        self.held_up = 0;
        let mut passed_over = self.lanes.iter().filter(|lane| lane.is_passed_over()).take(MOST_NAMED).count();
        for lane in &mut self.lanes {
            let before = lane.file.waiting();
            if lane.pass_over(self.now, passed_over >= MOST_NAMED, books) {
                self.waiting = self.waiting + lane.file.waiting() - before;
                passed_over += 1;
            }
            let (is_held_up, is_released) = lane.look_at_host();
            self.held_up += usize::from(is_held_up);
            self.releases += u64::from(is_released);
        }
    }
}

impl Target for HostFiles {
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        self.taken += len_of(parts) as u64;
        let (used, listed) = (self.taken, self.listed);
        let at = match whose {
            #[cfg(feature = "tls")]
            Whose::Client(origin, said) if self.names.is_said() => {
                self.place_for(origin.peer.host(), &said.by(origin.peer), books)
            }
            Whose::Client(origin, said) => self.place_for(origin.peer.host(), said, books),
            Whose::Mark => self.place_of(&self.marked.clone()),
        };
        let Some(lane) = self.lanes.get_mut(at) else { return Took::Waits };
        lane.used = used;
        let (before, was_open) = (lane.file.waiting(), lane.file.is_open());
        let mut taken = lane.take(parts, may_write, books);
        self.waiting = self.waiting + lane.file.waiting() - before;
        if taken.as_ref().is_err_and(is_descriptor_shortage) && self.close_least_used(CLOSED_AT_ONCE, books) {
            let lane = self.lanes.get_mut(at);
            taken = lane.map_or(Ok(()), |lane| lane.file.prepare(books)).map(|()| Took::Written);
        }
        if let Err(error) = &taken {
            self.note_failure(at, error, books);
            let is_held_up = self.lanes.get_mut(at).is_some_and(|lane| lane.look_at_host().0);
            self.held_up += usize::from(is_held_up);
        }
        if !was_open {
            self.due_at = Some(Duration::ZERO);
            if self.lanes.get(at).is_some_and(|lane| lane.file.is_open()) {
                self.close_some(books);
            }
        }
        self.hand_over(at, books);
        let is_plain = was_open && self.listed == listed;
        if is_plain && matches!(taken, Ok(Took::Waits)) { Took::Waits } else { Took::Written }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        let before = self.waiting;
        let is_much = self.waiting > MOST_GATHERED;
        let mut may_remove = self.removes_when_full;
        for at in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(at) else { break };
            if is_much {
                lane.file.hurry();
            }
            if lane.is_due(now) {
                self.write_one(at, &mut may_remove, books);
            }
        }
        self.compress(books);
        self.pass_over(books);
        self.forget_closed();
        self.note_written();
        let due_in = self.lanes.iter().filter_map(|lane| lane.due_in(now)).min();
        self.due_at = due_in.map(|wait| now + wait);
        self.settle_one(books);
        self.sync(books);
        self.catch_up();
        // At the end, and whenever none of those that wait can be written, the output as a whole stands still.
        let is_still = self.waiting > 0 && self.waiting >= before;
        let all_stuck = || self.lanes.iter().all(|lane| lane.file.waiting() == 0 || lane.is_stuck());
        Ok(match self.waiting {
            0 => Wrote::All,
            _ if is_still && all_stuck() => Wrote::Away,
            _ => Wrote::Later,
        })
    }

    fn standing(&self) -> Standing {
        let delivered = self.syncs.as_ref().map_or_else(|| self.written(), Syncs::synced);
        let (waiting, held_up, behind, releases) = (self.waiting, self.held_up, self.behind, self.releases);
        Standing { waiting, held: waiting + self.listed * HOST_BYTES, delivered, held_up, behind, releases }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        let dropped = self.lanes.iter_mut().map(Lane::drop_all);
        let (lines, bytes) = dropped.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.waiting = self.lanes.iter().map(|lane| lane.file.waiting()).sum();
        (lines, bytes)
    }

    fn give_up(&mut self, books: &mut Books) -> bool {
        let holding = self.lanes.iter_mut().filter(|lane| lane.is_passed_over() && lane.file.waiting() > 0);
        holding.for_each(|lane| lane.give_up(books));
        let before = mem::replace(&mut self.waiting, self.lanes.iter().map(|lane| lane.file.waiting()).sum());
        self.waiting < before
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let sync = self.syncs.as_ref().and_then(|syncs| syncs.due_in(now, self.written()));
        let compressing = self.compressor.as_ref().and_then(|compressor| compressor.due_in(now));
        soonest(&[self.due_at.map(|at| at.saturating_sub(now)), sync, compressing])
    }

    fn welcome(&self, host: Host) -> Welcome {
        let mut welcome = Welcome::Little;
        for lane in self.lanes_of(host).map(Lane::welcome) {
            if lane == Welcome::Nothing {
                return lane;
            }
            welcome = welcome.max(lane);
        }
        welcome
    }

    fn is_behind(&self, host: Host) -> bool {
        self.behind > 0 && self.lanes_of(host).any(Lane::is_behind)
    }

    fn passes_over_itself(&self) -> bool {
        true
    }

    fn next_gap(&mut self) -> Option<Gap> {
        let (name, gap) = self.gaps.pop_front()?;
        self.marked = name;
        Some(gap)
    }

    fn try_now(&mut self) {
        self.lanes.iter_mut().for_each(Lane::try_now);
    }

    fn configure(&mut self, options: &OutputOptions, books: &mut Books) {
        let keep = |options: &OutputOptions| options.rotates().then_some(options.rotate_keep);
        let (age_before, keep_before) = (self.options.rotate_age, keep(&self.options));
        self.options.renew(options);
        self.options.disk_full = DiskFull::Wait;
        self.removes_when_full = options.disk_full == DiskFull::DropOldest;
        self.lanes.iter_mut().for_each(|lane| lane.configure(&self.options));
        for noted in self.known.iter_mut() {
            noted.known.age = noted.known.age.renewed(age_before, options.rotate_age);
        }
        if keep(options).is_some() && keep(options) != keep_before {
            let (compressor, known) = (&mut self.compressor, &self.known);
            let is_said = self.names.is_said();
            let is_ours = |name: &str| !is_said || known.get(name).is_some_and(|noted| noted.is_settled);
            let done = settle(&self.names, &self.options, &is_ours, books, &mut |name, number| {
                if is_ours(&name) {
                    note_rotated(compressor, &self.names, &self.options, (&name, number));
                }
            });
            if let Err(error) = done {
                books.report(format_args!("cannot bring the rotated files of {} into order: {error}", self.name));
            }
            self.syncs.iter_mut().for_each(Syncs::forget_removed);
        }
    }

    fn reopen(&mut self) {
        self.due_at = Some(Duration::ZERO);
        self.lanes.iter_mut().for_each(|lane| {
            lane.try_now();
            lane.file.reopen();
        });
    }

    fn settle(&mut self, _: Duration, books: &mut Books) -> bool {
        self.compressor.iter_mut().for_each(Compressor::end);
        let mut is_news = false;
        self.lanes.iter_mut().for_each(|lane| is_news |= lane.file.end());
        if self.waiting > 0 {
            // Once: one that can't be written has its own times.
            self.due_at = if is_news { Some(Duration::ZERO) } else { self.due_at };
            return false;
        }
        let written = self.written();
        if let Some(syncs) = &mut self.syncs {
            let files: Vec<Arc<_>> = self.lanes.iter_mut().filter_map(|lane| lane.file.dirty()).collect();
            books.unsynced = note_sync(syncs.last(written, files), &self.name, books);
        }
        books.missed_lines += self.lanes.iter_mut().map(Lane::missed_at_the_end).sum::<u64>();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::calendar::TimeOfDay;
    use crate::engine::peer::Peer;
    use std::path::PathBuf;

    fn origin(peer: &Peer) -> crate::sink::Origin<'_> {
        crate::sink::Origin { peer, wall_ms: 0, parse: crate::config::syslog::Parse::Off }
    }

    /// Files in a directory of this test's own, which is gone with them.
    struct Fixture {
        files: HostFiles,
        folder: PathBuf,
        books: Books,
    }

    impl Fixture {
        fn new(name: &str, options: &OutputOptions) -> Self {
            let folder = std::env::temp_dir().join(format!("lumberjack-hosts-{}-{name}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            let mut books = Books::default();
            let files = HostFiles::open(&folder.join("{host}"), options, &mut books).unwrap();
            Self { files, folder, books }
        }

        fn take(&mut self, host: u16, line: &[u8]) {
            let [high, low] = host.to_be_bytes();
            let peer = Peer::V4 { ip: [10, 0, high, low], port: 1 };
            self.files.take(Whose::Client(&origin(&peer), &Said::NOTHING), [line, b"", b""], true, &mut self.books);
        }

        fn write(&mut self, seconds: u64) -> Wrote {
            self.files.write(Duration::from_secs(seconds), &mut self.books).unwrap()
        }

        fn is_open(&self, host: u16) -> bool {
            let [high, low] = host.to_be_bytes();
            let at = self.files.find(&format!("10.0.{high}.{low}"));
            at.is_ok_and(|at| self.files.lanes[at].file.is_open())
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn the_least_recently_used_is_closed_first() {
        let mut fixture = Fixture::new("used", &OutputOptions { host_files: 1000, ..OutputOptions::default() });
        (0..256).for_each(|host| fixture.take(host, b"line\n"));
        assert_eq!(fixture.write(1), Wrote::All);
        assert!((0..256).all(|host| fixture.is_open(host)));
        fixture.take(0, b"again\n");
        fixture.take(256, b"line\n");
        fixture.write(2);
        let closed: Vec<u16> = (0..257).filter(|host| !fixture.is_open(*host)).collect();
        assert_eq!(closed, (1..=17).collect::<Vec<u16>>(), "some at once, and the first not among them");
        assert_eq!(fixture.files.lanes.len(), 257 - 17);
        fixture.take(1, b"back\n");
        fixture.write(3);
        assert_eq!(fs::read(fixture.folder.join("10.0.0.1")).unwrap(), b"line\nback\n");
    }

    #[test]
    fn what_is_delivered_is_known_though_some_file_always_gathers() {
        let options = OutputOptions { flush_every: Duration::from_secs(10), ..OutputOptions::default() };
        let mut fixture = Fixture::new("gathers", &options);
        let mut last = 0;
        for second in 0..100 {
            // Four hosts in turn, so that something waits at every moment.
            if second % 2 == 0 {
                fixture.take(second / 2 % 4, b"line\n");
            }
            fixture.write(u64::from(second));
            let delivered = fixture.files.standing().delivered;
            assert!(delivered >= last, "it never goes back");
            let taken = u64::from(second / 2 + 1) * 5;
            assert!(fixture.files.waiting > 0 && delivered <= taken - fixture.files.waiting as u64);
            // A checkpoint is passed ten seconds after it was made, and the next is made then.
            assert!(second < 20 || delivered + 5 * 11 >= taken, "{delivered} of {taken} at {second}");
            last = delivered;
        }
    }

    #[test]
    fn p20_one_that_can_not_be_written_is_left_behind_until_it_has_all() {
        let peer = |host| Host::V4([10, 0, 0, host]);
        let mut fixture = Fixture::new("behind", &OutputOptions::default());
        let in_the_way = fixture.folder.join("10.0.0.1");
        fs::create_dir(&in_the_way).unwrap();
        fixture.take(1, b"waits\n");
        fixture.take(2, b"goes on\n");
        fixture.write(1);
        let standing = fixture.files.standing();
        assert_eq!((standing.delivered, standing.behind, standing.waiting), (14, 1, 6));
        assert!(fixture.files.is_behind(peer(1)) && !fixture.files.is_behind(peer(2)));
        fixture.take(1, b"more\n");
        fs::remove_dir(&in_the_way).unwrap();
        let released = standing.releases;
        fixture.write(20);
        let standing = fixture.files.standing();
        assert_eq!((standing.delivered, standing.behind, standing.waiting), (19, 0, 0));
        assert!(!fixture.files.is_behind(peer(1)) && standing.releases > released);
    }

    #[test]
    fn p5_hosts_that_wait_for_one_file_are_counted_and_held_up_and_no_others() {
        let mut fixture = Fixture::new("listed", &OutputOptions::default());
        let folder = fixture.folder.clone();
        let mut books = Books::default();
        fixture.files = HostFiles::open(&folder.join("{app}"), &OutputOptions::default(), &mut books).unwrap();
        let said = |line: &[u8]| Said::of(crate::engine::syslog::parse(line).as_ref(), false);
        let (good, bad) = (said(b"<14>1 - - good - - - x"), said(b"<14>1 - - bad - - - x"));
        fs::create_dir(folder.join("bad")).unwrap();
        let peer = |host: u8| Peer::V4 { ip: [10, 0, 0, host], port: 1 };
        let take = |files: &mut HostFiles, host: u8, said: &Said, books: &mut Books| {
            files.take(Whose::Client(&origin(&peer(host)), said), [b"line\n", b"", b""], true, books);
        };
        for host in 0..200 {
            take(&mut fixture.files, host, &bad, &mut books);
            take(&mut fixture.files, host / 2 + 100, &good, &mut books);
        }
        fixture.write(1);
        let standing = fixture.files.standing();
        assert_eq!((standing.waiting, standing.behind, standing.delivered), (1000, 1, 2000));
        assert!(standing.held >= standing.waiting + 200 * size_of::<Host>(), "{standing:?}");
        let welcome = |files: &HostFiles, host| files.welcome(peer(host).host());
        assert_eq!((welcome(&fixture.files, 0), welcome(&fixture.files, 199)), (Welcome::Nothing, Welcome::Nothing));
        assert_eq!(welcome(&fixture.files, 200), Welcome::Little);
        assert!(fixture.files.is_behind(peer(7).host()) && !fixture.files.is_behind(peer(200).host()));
        fs::remove_dir(folder.join("bad")).unwrap();
        fixture.write(20);
        let standing = fixture.files.standing();
        assert_eq!((standing.waiting, standing.held, standing.behind, standing.delivered), (0, 0, 0, 2000));
        assert!(!fixture.files.is_behind(peer(7).host()));
    }

    #[test]
    fn p9_the_earlier_files_of_one_name_a_turn_are_brought_into_order_and_those_of_all_in_the_end() {
        const NAMES: [&str; 4] = ["cron", "dhcpd", "sshd", "su"];
        let options = OutputOptions { rotate_size: 4096, rotate_keep: 2, ..OutputOptions::default() };
        let mut fixture = Fixture::new("earlier", &options);
        let folder = fixture.folder.clone();
        let earlier = |name: &str| fs::write(folder.join(format!("{name}.7")), "beyond\n").unwrap();
        NAMES.iter().chain(&["other-programs"]).for_each(|name| earlier(name));
        fixture.files = HostFiles::open(&folder.join("{app}"), &options, &mut fixture.books).unwrap();
        let left = || NAMES.iter().filter(|name| fs::exists(folder.join(format!("{name}.7"))).unwrap()).count();
        let peer = Peer::V4 { ip: [10, 0, 0, 1], port: 1 };
        let said = |name: &str| {
            let line = format!("<14>1 - - {name} - - - x");
            Said::of(crate::engine::syslog::parse(line.as_bytes()).as_ref(), false)
        };
        for name in NAMES {
            let said = said(name);
            fixture.files.take(Whose::Client(&origin(&peer), &said), [b"line\n", b"", b""], true, &mut fixture.books);
        }
        assert_eq!(left(), 4, "clients' lines wait for none of it");
        for expected in [3, 2, 1, 0] {
            fixture.write(1);
            assert_eq!(left(), expected);
            assert_eq!(fixture.files.due_in(Duration::from_secs(1)), Some(Duration::ZERO), "the next is due at once");
        }
        fixture.write(1);
        assert_eq!(fixture.files.due_in(Duration::from_secs(1)), None, "and then none is");
        assert!(fs::exists(folder.join("other-programs.7")).unwrap(), "no line came for it");
        // One that rotates before its turn comes is brought into order first.
        ["cron", "su"].iter().for_each(|name| fs::write(folder.join(format!("{name}.7")), "beyond\n").unwrap());
        fixture.files = HostFiles::open(&folder.join("{app}"), &options, &mut fixture.books).unwrap();
        for name in ["cron", "su", "su"] {
            let said = said(name);
            let line = "x".repeat(4090) + "\n";
            fixture.files.take(
                Whose::Client(&origin(&peer), &said),
                [line.as_bytes(), b"", b""],
                true,
                &mut fixture.books,
            );
        }
        fixture.write(2);
        let is_there = ["su.1", "su.7", "cron.7"].map(|name| fs::exists(folder.join(name)).unwrap());
        assert_eq!(is_there, [true, false, false]);
    }

    #[test]
    fn a_file_that_was_closed_does_not_get_younger() {
        let options =
            OutputOptions { host_files: 1000, rotate_age: Duration::from_secs(1000), ..OutputOptions::default() };
        let mut fixture = Fixture::new("age", &options);
        fixture.take(0, b"line\n");
        fixture.write(0);
        (1..300).for_each(|host| fixture.take(host, b"line\n"));
        fixture.write(900);
        assert!(!fixture.is_open(0));
        fixture.take(0, b"more\n");
        fixture.write(999);
        assert!(!fs::exists(fixture.folder.join("10.0.0.0.1")).unwrap(), "not old yet");
        fixture.write(1000);
        assert_eq!(fs::read(fixture.folder.join("10.0.0.0.1")).unwrap(), b"line\nmore\n");
        assert!(!fs::exists(fixture.folder.join("10.0.0.1.1")).unwrap(), "begun 900 s later");
    }

    #[test]
    fn a_file_that_was_closed_is_still_of_this_day() {
        let options =
            OutputOptions { host_files: 1000, rotate_at: Some(TimeOfDay::default()), ..OutputOptions::default() };
        let mut fixture = Fixture::new("day", &options);
        (0..300).for_each(|host| fixture.take(host, b"line\n"));
        fixture.write(1);
        assert!(!fixture.is_open(0));
        fixture.take(0, b"more\n");
        fixture.write(2);
        // There is none before it, which would make it older than anything if nobody knew.
        assert_eq!(fs::read(fixture.folder.join("10.0.0.0")).unwrap(), b"line\nmore\n");
    }
}
