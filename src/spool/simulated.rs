//! A disk of tests: it knows what would be left of each page and each name if the power went now, fails as it is told, and
//! stops in the middle of any write.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::rc::Rc;

use super::disk::{Disk, TRIES, moved};
use super::identity::LOCK;
use crate::linux::{EDQUOT, ENOSPC};

const PAGE: usize = 4096;

/// Random numbers from a seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end.max(1) as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

#[derive(Debug, Default)]
struct Content {
    /// What who reads sees.
    seen: Vec<u8>,
    /// What is on the disk for certain.
    safe: Vec<u8>,
    /// Pages that may be as they were, as they are, or anything.
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum Naming {
    Made(String, u32),
    Gone(String),
    Moved(String, String),
}

#[derive(Debug)]
struct State {
    dice: Dice,
    files: BTreeMap<u32, Content>,
    names: BTreeMap<String, u32>,
    /// What another directory has, that takes this one's place.
    elsewhere: BTreeMap<String, u32>,
    safe_names: BTreeMap<String, u32>,
    namings: Vec<Naming>,
    next_file: u32,
    is_locked: bool,
    machine: Option<String>,
    /// Calls that fail next, by name.
    failing: Vec<(&'static str, u64, i32)>,
    /// One call in so many fails.
    fails_one_in: usize,
    /// Bytes that may be written before the world ends.
    bytes_left: Option<usize>,
    is_dead: bool,
    capacity: usize,
    calls: u64,
    most_bytes: usize,
    /// A sync was said to have failed, or a page was lost.
    doubts: u64,
    /// Reads, and opens, that failed in a row.
    failed_reads: u32,
    failed_opens: u32,
    /// Segments whose sync has failed.
    failed_syncs: BTreeSet<u32>,
    /// Where bytes of positions are among all that were written.
    positions: Vec<Range<usize>>,
    written: usize,
    /// Pages that can't be read, ever.
    bad_pages: BTreeSet<(u32, usize)>,
}

/// A directory in memory.
#[derive(Debug, Clone)]
pub(super) struct SimDisk {
    state: Rc<RefCell<State>>,
}

impl SimDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: Rc::new(RefCell::new(State {
                dice: Dice::new(seed),
                files: BTreeMap::new(),
                names: BTreeMap::new(),
                elsewhere: BTreeMap::new(),
                safe_names: BTreeMap::new(),
                namings: Vec::new(),
                next_file: 0,
                is_locked: false,
                machine: Some("this one".to_owned()),
                failing: Vec::new(),
                fails_one_in: 0,
                bytes_left: None,
                is_dead: false,
                capacity: usize::MAX,
                calls: 0,
                most_bytes: 0,
                doubts: 0,
                failed_reads: 0,
                failed_opens: 0,
                failed_syncs: BTreeSet::new(),
                positions: Vec::new(),
                written: 0,
                bad_pages: BTreeSet::new(),
            })),
        }
    }

    pub(super) fn set_machine(&self, name: Option<&str>) {
        self.state.borrow_mut().machine = name.map(str::to_owned);
    }

    /// The next call of this name fails.
    pub(super) fn fail_next(&self, call: &'static str, number: i32) {
        self.fail_after(call, 0, number);
    }

    /// One of the next calls of this name fails, after so many others.
    pub(super) fn fail_after(&self, call: &'static str, skipped: u64, number: i32) {
        self.state.borrow_mut().failing.push((call, skipped, number));
    }

    /// Whether a call that was to fail has not come.
    pub(super) fn is_waiting_to_fail(&self) -> bool {
        !self.state.borrow().failing.is_empty()
    }

    /// What all files take now.
    pub(super) fn used(&self) -> usize {
        self.state.borrow().used()
    }

    /// How many bytes were written, in all.
    pub(super) fn written(&self) -> usize {
        self.state.borrow().written
    }

    /// Whether this was one of a position.
    pub(super) fn is_position(&self, byte: usize) -> bool {
        self.state.borrow().positions.iter().any(|range| range.contains(&byte))
    }

    pub(super) fn remove(&self, name: &str) {
        let mut state = self.state.borrow_mut();
        state.names.remove(name);
        state.safe_names.remove(name);
    }

    /// One call in so many fails from now on; none if that is 0.
    pub(super) fn fail_one_in(&self, many: usize) {
        self.state.borrow_mut().fails_one_in = many;
    }

    pub(super) fn set_capacity(&self, bytes: usize) {
        self.state.borrow_mut().capacity = bytes;
    }

    /// After so many more bytes, nothing is done any more.
    pub(super) fn die_after(&self, bytes: Option<usize>) {
        self.state.borrow_mut().bytes_left = bytes;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state.borrow().is_dead
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// The most that all files took at any time.
    pub(super) fn most_bytes(&self) -> usize {
        self.state.borrow().most_bytes
    }

    /// How often a sync failed.
    pub(super) fn doubts(&self) -> u64 {
        self.state.borrow().doubts
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state.borrow().names.keys().cloned().collect()
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        let state = self.state.borrow();
        state.files[&state.names[name]].seen.clone()
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        let number = state.make(name);
        let content = state.files.get_mut(&number).unwrap();
        (content.seen, content.safe) = (bytes.to_vec(), bytes.to_vec());
        state.safe_names.insert(name.to_owned(), number);
    }

    /// One bit of a file is another from now on.
    pub(super) fn flip(&self, name: &str, byte: usize) {
        let mut state = self.state.borrow_mut();
        let number = state.names[name];
        let content = state.files.get_mut(&number).unwrap();
        for bytes in [&mut content.seen, &mut content.safe] {
            bytes.get_mut(byte).into_iter().for_each(|byte| *byte ^= 1 << 3);
        }
    }

    /// An empty directory takes this one's place, or this one takes it again.
    pub(super) fn exchange(&self) {
        let state = &mut *self.state.borrow_mut();
        std::mem::swap(&mut state.names, &mut state.elsewhere);
    }

    /// A page can't be read from now on.
    pub(super) fn spoil(&self, name: &str, byte: usize) {
        let mut state = self.state.borrow_mut();
        let number = state.names[name];
        state.bad_pages.insert((number, byte / PAGE));
    }

    /// The process that had the lock is no more, and nothing else has changed.
    pub(super) fn unlock(&self) {
        let mut state = self.state.borrow_mut();
        state.is_locked = false;
        state.failed_syncs.clear();
    }

    /// The process ended, and the kernel did not.
    pub(super) fn restart(&self) {
        let mut state = self.state.borrow_mut();
        (state.is_locked, state.is_dead, state.bytes_left) = (false, false, None);
        state.failing.clear();
        // The next process can't know.
        state.failed_syncs.clear();
    }

    /// The power went.
    pub(super) fn cut(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for naming in std::mem::take(&mut state.namings) {
            if !state.dice.one_in(3) {
                naming.apply(&mut state.safe_names);
            }
        }
        state.names = state.safe_names.clone();
        // What was in blocks that are used again.
        let gone: Vec<&Content> = state
            .files
            .iter()
            .filter(|(number, _)| !state.names.values().any(|used| used == *number))
            .map(|(_, content)| content)
            .collect();
        let old = gone.first().map(|content| content.seen.clone()).unwrap_or_default();
        let used: BTreeSet<u32> = state.names.values().copied().collect();
        state.files.retain(|number, _| used.contains(number));
        for content in state.files.values_mut() {
            content.cut(&mut state.dice, &old);
        }
        state.failing.clear();
        state.failed_syncs.clear();
        (state.is_locked, state.is_dead, state.bytes_left) = (false, false, None);
    }
}

impl Naming {
    fn apply(self, names: &mut BTreeMap<String, u32>) {
        match self {
            Self::Made(name, number) => drop(names.insert(name, number)),
            Self::Gone(name) => drop(names.remove(&name)),
            Self::Moved(from, to) => {
                if let Some(number) = names.remove(&from) {
                    names.insert(to, number);
                }
            }
        }
    }
}

impl Content {
    fn cut(&mut self, dice: &mut Dice, old: &[u8]) {
        let mut left = self.safe.clone();
        // The length is one of all that it ever was.
        let len = match dice.below(3) {
            0 => self.safe.len(),
            1 => self.seen.len(),
            _ => self.safe.len() + dice.below(self.seen.len().saturating_sub(self.safe.len()) + 1),
        };
        for page in std::mem::take(&mut self.dirty) {
            let (start, end) = (page * PAGE, ((page + 1) * PAGE).min(self.seen.len()));
            let Some(new) = self.seen.get(start..end) else { continue };
            let mut page: Vec<u8> = left.get(start..end.min(left.len())).unwrap_or_default().to_vec();
            page.resize(new.len(), 0);
            match dice.below(5) {
                0 => {}
                1 | 2 => page.copy_from_slice(new),
                3 => {
                    let torn = dice.below(new.len() + 1);
                    page[..torn].copy_from_slice(&new[..torn]);
                }
                _ => {
                    let from = dice.below(old.len() / PAGE + 1) * PAGE;
                    for (at, byte) in page.iter_mut().enumerate() {
                        *byte = old.get(from + at).copied().unwrap_or(0xa5);
                    }
                }
            }
            if left.len() < end {
                left.resize(end, 0);
            }
            left[start..end].copy_from_slice(&page);
        }
        left.resize(len.max(self.safe.len()), 0);
        (self.seen, self.safe) = (left.clone(), left);
    }

    fn sync(&mut self) {
        self.safe.resize(self.seen.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let (start, end) = (page * PAGE, ((page + 1) * PAGE).min(self.seen.len()));
            if start < end {
                self.safe[start..end].copy_from_slice(&self.seen[start..end]);
            }
        }
    }

    /// The kernel could not write pages, says so once, and forgets that they are to be written.
    fn fail_to_sync(&mut self, dice: &mut Dice) {
        for page in std::mem::take(&mut self.dirty) {
            let (start, end) = (page * PAGE, ((page + 1) * PAGE).min(self.seen.len()));
            if start >= end {
                continue;
            }
            if dice.one_in(2) {
                // Read anew from the disk.
                for at in start..end {
                    self.seen[at] = self.safe.get(at).copied().unwrap_or(0);
                }
            } else if dice.one_in(2) {
                self.safe.resize(self.safe.len().max(end), 0);
                self.safe[start..end].copy_from_slice(&self.seen[start..end]);
            }
        }
    }
}

impl State {
    fn make(&mut self, name: &str) -> u32 {
        self.next_file += 1;
        self.files.insert(self.next_file, Content::default());
        self.names.insert(name.to_owned(), self.next_file);
        self.namings.push(Naming::Made(name.to_owned(), self.next_file));
        self.next_file
    }

    fn used(&self) -> usize {
        self.names.values().map(|number| self.files[number].seen.len().next_multiple_of(PAGE)).sum()
    }

    /// Whether this call goes on.
    fn call(&mut self, call: &'static str) -> io::Result<()> {
        self.calls += 1;
        if self.is_dead {
            return Err(io::Error::other("the process is dead"));
        }
        if let Some(at) = self.failing.iter().position(|(name, ..)| *name == call) {
            if self.failing[at].1 == 0 {
                return Err(io::Error::from_raw_os_error(self.failing.remove(at).2));
            }
            self.failing[at].1 -= 1;
        }
        if self.fails_one_in > 0 && self.dice.one_in(self.fails_one_in) {
            let numbers: &[i32] = match call {
                "open" => &[24, 23, 5, 12],
                "list" => &[24, 5],
                "read" => &[5, 4],
                "sync" => &[5, ENOSPC, EDQUOT, 30],
                "unlink" => &[5, 30],
                _ => &[5, ENOSPC, EDQUOT, 30, 24],
            };
            return Err(io::Error::from_raw_os_error(*self.dice.pick(numbers)));
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    type File = u32;

    fn list(&self, tell: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.call("list")?;
        state.names.iter().for_each(|(name, number)| tell(name, state.files[number].seen.len() as u64));
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<u32> {
        let mut state = self.state.borrow_mut();
        state.call("create")?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(state.make(name))
    }

    fn open(&self, name: &str, _: bool) -> io::Result<u32> {
        let mut state = self.state.borrow_mut();
        let is_spared = state.failed_opens + 1 >= TRIES && !state.is_dead;
        match state.call("open") {
            Err(error) if !is_spared => {
                state.failed_opens += 1;
                return Err(error);
            }
            _ => state.failed_opens = 0,
        }
        state.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn read_at(&self, file: &u32, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let is_spared = state.failed_reads + 1 >= TRIES && !state.is_dead;
        match state.call("read") {
            Err(error) if !is_spared => {
                state.failed_reads += u32::from(error.kind() != ErrorKind::Interrupted);
                return Err(error);
            }
            _ => state.failed_reads = 0,
        }
        let pages = usize::try_from(offset).unwrap() / PAGE;
        if (pages..=pages + buffer.len() / PAGE).any(|page| state.bad_pages.contains(&(*file, page))) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let rest = state.files[file].seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, file: &u32, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        state.call("write")?;
        let state = &mut *state;
        let offset = usize::try_from(offset).unwrap();
        let mut count = bytes.len();
        // Some are shorter than they might be.
        if state.fails_one_in > 0 && state.dice.one_in(8) {
            count = 1 + state.dice.below(count);
        }
        if let Some(left) = &mut state.bytes_left {
            state.is_dead = *left <= count;
            count = count.min(*left);
            *left -= count;
        }
        let used = state.used();
        let content = state.files.get_mut(file).unwrap();
        let room = state.capacity.saturating_sub(used).saturating_add(content.seen.len().next_multiple_of(PAGE));
        count = count.min(room.saturating_sub(offset).max(content.seen.len().saturating_sub(offset)));
        if count == 0 {
            return Err(if state.is_dead { io::Error::other("dead") } else { io::Error::from_raw_os_error(ENOSPC) });
        }
        let end = offset + count;
        if state.names.iter().any(|(name, number)| number == file && name.ends_with(".pos")) {
            state.positions.push(state.written..state.written + count);
        }
        state.written += count;
        content.seen.resize(content.seen.len().max(end), 0);
        content.seen[offset..end].copy_from_slice(&bytes[..count]);
        content.dirty.extend(offset / PAGE..=(end - 1) / PAGE);
        state.most_bytes = state.most_bytes.max(state.used());
        if state.is_dead { Err(io::Error::other("dead")) } else { Ok(count) }
    }

    fn sync(&self, file: &u32) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let result = state.call("sync");
        let state = &mut *state;
        let Some(content) = state.files.get_mut(file) else { return result };
        let is_segment = state.names.iter().any(|(name, number)| number == file && name.ends_with(".seg"));
        assert!(!state.failed_syncs.contains(file), "a file whose sync has failed is not synced again");
        match &result {
            Ok(()) => content.sync(),
            Err(_) if state.is_dead => {}
            Err(_) => {
                content.fail_to_sync(&mut state.dice);
                state.doubts += 1;
                if is_segment {
                    state.failed_syncs.insert(*file);
                }
            }
        }
        result
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.call("sync directory")?;
        state.namings.clear();
        state.safe_names = state.names.clone();
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.call("unlink")?;
        state.names.remove(name).ok_or(ErrorKind::NotFound)?;
        state.namings.push(Naming::Gone(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.call("rename")?;
        let number = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), number);
        state.namings.push(Naming::Moved(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<u32>> {
        let mut state = self.state.borrow_mut();
        state.call("lock")?;
        if std::mem::replace(&mut state.is_locked, true) {
            return Ok(None);
        }
        Ok(Some(match state.names.get(name) {
            Some(number) => *number,
            None => state.make(name),
        }))
    }

    fn check_place(&self) -> io::Result<()> {
        let state = self.state.borrow();
        if state.is_locked && !state.names.contains_key(LOCK) { Err(moved()) } else { Ok(()) }
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut state = self.state.borrow_mut();
        state.call("random")?;
        let halves = [state.dice.roll(), state.dice.roll()];
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(halves.iter().flat_map(|half| half.to_le_bytes()))
            .for_each(|(byte, random)| *byte = random);
        Ok(bytes)
    }

    fn machine(&self) -> Option<Vec<u8>> {
        self.state.borrow().machine.clone().map(String::into_bytes)
    }
}
