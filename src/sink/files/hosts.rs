//! A file for each host: `{host}` in the name stands for its address. Invariant: there are never more files than
//! `--host-files` and one, each with its rotated ones, nor more of them open at rest than [`most_open`], and as many again
//! while they are synced; and what one of them can't do holds up no other.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::compress::Compressor;
use super::lane::Lane;
use super::log_file::note_removed;
use super::names::{self, Owner, found};
use super::opener::Opener;
use super::path::{folder_of, shown};
use super::rotate::{Rotated, is_disk_full, remove, remove_counted};
use super::rotation::Known;
use super::single::{note_sync, syncs_of};
use super::sync::{Syncs, most_descriptors};
use crate::config::output::{DiskFull, OutputOptions};
use crate::engine::gap::Gap;
use crate::engine::peer::Host;
use crate::host::descriptor_limit;
use crate::linux::is_descriptor_shortage;
use crate::sink::Welcome;
use crate::sink::place::Identity;
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

/// Of files that can't be written at the same time, so many are named, or hundreds of them would hide what else is to be
/// said of this output.
const MOST_NAMED: usize = 2;

/// The files.
pub(super) struct HostFiles {
    pattern: PathBuf,
    name: String,
    options: OutputOptions,
    removes_when_full: bool,
    most_open: usize,
    /// The hosts for which there is a file, in order, and how old it is, for one that was closed.
    known: Vec<(Host, Known)>,
    /// The files that are open, or have lines that wait, by owner.
    lanes: Vec<Lane>,
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
    gaps: VecDeque<(Owner, Gap)>,
    /// Whose file gets the next mark.
    marked: Owner,
    /// How many hosts are held up.
    held_up: usize,
    /// How many files are behind: they could not be written, and the others are counted without them.
    behind: usize,
    /// Grows when a host is held up or behind no more.
    releases: u64,
    /// Somebody was told that a host has to share a file.
    has_told: bool,
}

/// Where in the list of known hosts one is, or would be.
#[inline(never)] // one copy, for size
fn place_in(known: &[(Host, Known)], host: Host) -> Result<usize, usize> {
    known.binary_search_by_key(&host, |known| known.0)
}

/// Removes rotated files beyond what is to be kept, and tells of each other file: whose it is, and its number.
fn settle(
    pattern: &Path,
    options: &OutputOptions,
    books: &mut Books,
    each: &mut dyn FnMut(Owner, usize),
) -> io::Result<()> {
    for (path, owner, number) in found(pattern)? {
        if number > 0 && !options.rotates() {
            continue;
        }
        if number > options.rotate_keep {
            if remove(&path)? {
                books.report(format_args!("removed {}, beyond --rotate-keep", shown(&path)));
            }
            continue;
        }
        if number > 0 {
            let files = Rotated::new(&names::path_of(pattern, owner), options.rotate_keep);
            if let Some((path, why)) = files.settle(number)? {
                books.report(format_args!("removed {}, {why}", shown(&path)));
            }
        }
        each(owner, number);
    }
    Ok(())
}

/// A file with this owner and number is there, which may be one to be compressed.
fn note_rotated(
    compressor: &mut Option<Compressor>,
    pattern: &Path,
    options: &OutputOptions,
    (owner, number): (Owner, usize),
) {
    if let Some(compressor) = compressor.as_mut().filter(|_| number > 0) {
        compressor.note(Rotated::new(&names::path_of(pattern, owner), options.rotate_keep));
    }
}

/// How many files stay open at rest.
pub(super) fn most_open(options: &OutputOptions) -> usize {
    let allowed = usize::try_from(descriptor_limit()).unwrap_or(usize::MAX);
    let syncs = if most_descriptors(options.sync) > 0 { 2 } else { 1 };
    let share = allowed.saturating_sub(OTHER_DESCRIPTORS) / SHARE_OF_DESCRIPTORS / syncs;
    MOST_OPEN.min(options.host_files.saturating_add(1)).min(share).max(1)
}

impl HostFiles {
    /// Finds the files that are there already: they count. Rotated ones beyond what is to be kept are removed.
    ///
    /// # Errors
    /// The directory can't be read, or no files be made in it.
    pub(super) fn open(pattern: &Path, options: &OutputOptions, books: &mut Books) -> io::Result<Self> {
        let opener = Opener::new(options);
        if opener.makes_folder(pattern)? {
            books.report(format_args!("made the directory of {}", shown(pattern)));
        }
        opener.check_folder(&names::path_of(pattern, None), is_disk_full)?;
        if let Some(obstacle) = names::in_the_way(pattern, options.rotates())? {
            books.report(format_args!("{obstacle}"));
        }
        let mut known: Vec<(Host, Known)> = Vec::new();
        let mut compressor = Compressor::new(options);
        for path in names::unfinished(pattern)? {
            remove(&path)?;
        }
        settle(pattern, options, books, &mut |owner, number| {
            note_rotated(&mut compressor, pattern, options, (owner, number));
            if let Some(host) = owner
                && let Err(at) = place_in(&known, host)
            {
                known.insert(at, (host, Known::default()));
            }
        })?;
        // The oldest file of all hosts is removed here, not that of the one who met the full disk.
        let removes_when_full = options.disk_full == DiskFull::DropOldest;
        Ok(Self {
            pattern: pattern.to_owned(),
            name: shown(pattern),
            options: OutputOptions { disk_full: DiskFull::Wait, ..options.clone() },
            removes_when_full,
            most_open: most_open(options),
            syncs: syncs_of(pattern, options),
            compressor,
            known,
            lanes: Vec::new(),
            taken: 0,
            waiting: 0,
            written: 0,
            checkpoint: 0,
            now: Duration::ZERO,
            due_at: None,
            gaps: VecDeque::new(),
            marked: None,
            held_up: 0,
            behind: 0,
            releases: 0,
            has_told: false,
        })
    }

    /// Device and number of the directory, and the name in it: what tells whether two outputs write to the same files.
    pub(super) fn identity(&self) -> Option<Identity> {
        let found = fs::metadata(folder_of(&self.pattern)).ok()?;
        Some((found.dev(), found.ino(), self.pattern.file_name()?.to_owned()))
    }

    /// Whose file a host's lines go to.
    fn owner_of(&mut self, host: Host, books: &mut Books) -> Owner {
        if self.find(Some(host)).is_ok() {
            return Some(host);
        }
        let Err(at) = place_in(&self.known, host) else { return Some(host) };
        let most = self.options.host_files;
        if self.known.len() < most {
            self.known.insert(at, (host, Known::default()));
            return Some(host);
        }
        if !mem::replace(&mut self.has_told, true) {
            books.report(format_args!("{most} hosts have a file: further ones share one; --host-files sets it"));
        }
        None
    }

    #[inline(never)] // one copy, for size
    fn find(&self, owner: Owner) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&owner, |lane| lane.owner)
    }

    /// Where in the list the file of an owner is, which need not be open yet.
    fn place_of(&mut self, owner: Owner) -> usize {
        self.find(owner).unwrap_or_else(|at| {
            let mut lane = Lane::new(owner, &names::path_of(&self.pattern, owner), &self.options);
            let known = owner.and_then(|host| place_in(&self.known, host).ok());
            lane.file.set_known(known.and_then(|at| self.known.get(at)).map_or(Known::default(), |known| known.1));
            self.lanes.insert(at, lane);
            at
        })
    }

    /// One file was opened: the least recently used are closed, if there are too many now.
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
            let owner = oldest.owner;
            oldest.file.close();
            if let Ok(at) = self.find(owner) {
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

    /// What is closed and has nothing to write is known by its host alone.
    fn forget_closed(&mut self) {
        let known = &mut self.known;
        self.lanes.retain(|lane| {
            let is_at_rest = lane.is_at_rest();
            let at = lane.owner.and_then(|host| place_in(known, host).ok());
            if let Some(known) = at.and_then(|at| known.get_mut(at)).filter(|_| is_at_rest) {
                known.1 = lane.file.known();
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
                    if self.remove_oldest(needed, books) {
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
            self.gaps.push_back((lane.owner, missed));
        }
    }

    fn note_failure(&mut self, at: usize, error: &io::Error, books: &mut Books) {
        let others = self.lanes.iter().filter(|lane| lane.is_failing()).take(MOST_NAMED).count();
        let Some(lane) = self.lanes.get_mut(at) else { return };
        lane.fail(self.now, error, others >= MOST_NAMED, books);
        self.due_at = Some(self.now);
    }

    /// `--disk-full drop-oldest`: the rotated files that were written to longest ago go, whosever they are, until so many
    /// bytes are free. Whether any was removed.
    fn remove_oldest(&mut self, needed: usize, books: &mut Books) -> bool {
        let Ok(found) = found(&self.pattern) else { return false };
        let written_at = |path: &Path| fs::symlink_metadata(path).and_then(|found| found.modified());
        let rotated = found.into_iter().filter(|(_, _, number)| *number > 0);
        let mut rotated: Vec<_> = rotated
            .map(|(path, owner, _)| (written_at(&path).unwrap_or(SystemTime::UNIX_EPOCH), path, owner))
            .collect();
        let mut freed = 0;
        while freed < needed as u64 {
            let oldest = (0..rotated.len()).min_by_key(|at| rotated.get(*at).map(|found| found.0));
            let Some(oldest) = oldest else { break };
            let (_, path, owner) = rotated.swap_remove(oldest);
            let Ok(Some(removed)) = remove_counted(path, self.options.mark_gaps) else { continue };
            freed += removed.freed.max(1);
            self.gaps.push_back((owner, note_removed(&removed, books)));
        }
        if let Some(syncs) = &mut self.syncs {
            self.lanes.iter_mut().for_each(|lane| lane.file.hand_over(syncs));
            syncs.forget_removed();
        }
        freed > 0
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

    /// Which files have caught up.
    fn catch_up(&mut self) {
        self.behind = 0;
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_behind()) {
            let has_caught_up = lane.catch_up(&mut self.syncs);
            self.releases += u64::from(has_caught_up);
            self.behind += usize::from(!has_caught_up);
        }
    }

    /// The file that lines of a host go to, if it is open or has lines that wait; else where in the list it would be.
    fn lane_of(&self, host: Host) -> Option<&Lane> {
        // A host that has no file of its own may have to share one.
        let at = self.find(Some(host)).or_else(|at| match place_in(&self.known, host) {
            Ok(_) => Err(at),
            Err(_) if self.known.len() < self.options.host_files => Err(at),
            Err(_) => self.find(None),
        });
        at.ok().and_then(|at| self.lanes.get(at))
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
        let owner = match whose {
            Whose::Client(peer) => self.owner_of(peer.host(), books),
            Whose::Mark => self.marked,
        };
        let used = self.taken;
        let at = self.place_of(owner);
        let Some(lane) = self.lanes.get_mut(at) else { return Took::Waits };
        lane.used = used;
        let (before, was_open) = (lane.file.waiting(), lane.file.is_open());
        let mut taken = lane.take(parts, may_write, books);
        self.waiting = self.waiting + lane.file.waiting() - before;
        if taken.as_ref().is_err_and(is_descriptor_shortage) && self.close_least_used(CLOSED_AT_ONCE, books) {
            let lane = self.find(owner).ok().and_then(|at| self.lanes.get_mut(at));
            taken = lane.map_or(Ok(()), |lane| lane.file.prepare(books)).map(|()| Took::Written);
        }
        if let Err(error) = &taken {
            self.note_failure(at, error, books);
            let is_held_up = self.lanes.get_mut(at).is_some_and(|lane| lane.look_at_host().0);
            self.held_up += usize::from(is_held_up);
        }
        if !was_open {
            self.due_at = Some(Duration::ZERO);
            self.close_some(books);
        }
        self.hand_over(at, books);
        if was_open && matches!(taken, Ok(Took::Waits)) { Took::Waits } else { Took::Written }
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
        let (held_up, behind, releases) = (self.held_up, self.behind, self.releases);
        Standing { waiting: self.waiting, held: self.waiting, delivered, held_up, behind, releases }
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
        self.due_at.map(|at| at.saturating_sub(now)).into_iter().chain(sync).chain(compressing).min()
    }

    fn welcome(&self, host: Host) -> Welcome {
        self.lane_of(host).map_or(Welcome::Little, Lane::welcome)
    }

    fn is_behind(&self, host: Host) -> bool {
        self.behind > 0 && self.lane_of(host).is_some_and(Lane::is_behind)
    }

    fn passes_over_itself(&self) -> bool {
        true
    }

    fn next_gap(&mut self) -> Option<Gap> {
        let (owner, gap) = self.gaps.pop_front()?;
        self.marked = owner;
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
        for (_, known) in &mut self.known {
            known.age = known.age.renewed(age_before, options.rotate_age);
        }
        if keep(options).is_some() && keep(options) != keep_before {
            let compressor = &mut self.compressor;
            let done = settle(&self.pattern, &self.options, books, &mut |owner, number| {
                note_rotated(compressor, &self.pattern, &self.options, (owner, number));
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
            self.files.take(Whose::Client(&peer), [line, b"", b""], true, &mut self.books);
        }

        fn write(&mut self, seconds: u64) -> Wrote {
            self.files.write(Duration::from_secs(seconds), &mut self.books).unwrap()
        }

        fn is_open(&self, host: u16) -> bool {
            let [high, low] = host.to_be_bytes();
            let at = self.files.find(Some(Host::V4([10, 0, high, low])));
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
