//! What is kept of a poller over a restart: the key, what is remembered of the page, with a line that waits, and its place.
//! Invariant: bytes that were not written here, or for another URL, are refused, with the reason.

use super::hash::Key;
use super::page::{Open, Page};
use super::place::{CHECKED_BYTES, Place, Validators};

/// The last digit is the version.
const MAGIC: &[u8; 8] = b"LJPOLL01";

const HAS_RANGES: u8 = 1;
const NEWEST_FIRST: u8 = 2;
const HAS_OPEN: u8 = 4;
const OPEN_WAITS: u8 = 8;

/// The sums are no secrets.
fn sum(bytes: &[u8]) -> u64 {
    Key::new([0; 16]).hash(bytes)
}

pub(super) fn write<'a>(key: &Key, url: &str, page: &'a Page, place: &'a Place) -> Vec<u8> {
    let open = page.open.as_ref();
    let waits = open.and_then(|open| open.waits.as_deref());
    let mut flags = 0;
    for (flag, is_set) in [
        (HAS_RANGES, place.has_ranges),
        (NEWEST_FIRST, page.newest_first),
        (HAS_OPEN, open.is_some()),
        (OPEN_WAITS, waits.is_some()),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    let waits = waits.unwrap_or_default();
    let mut bytes = Vec::with_capacity(1024 + CHECKED_BYTES + waits.len() + page.lines.len() * size_of::<u64>());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(key.bytes());
    bytes.push(flags);
    let (hash, len) = open.map_or((0, 0), |open| (open.hash, open.len as u64));
    for number in [key.hash(url.as_bytes()), page.above, place.offset, place.read_to, hash, len] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default().as_bytes();
    for field in [text(&place.validators.etag), text(&place.validators.modified), &place.tail, waits] {
        bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
        bytes.extend_from_slice(field);
    }
    bytes.extend_from_slice(&(page.lines.len() as u64).to_le_bytes());
    for line in &page.lines {
        bytes.extend_from_slice(&line.to_le_bytes());
    }
    bytes.extend_from_slice(&sum(&bytes).to_le_bytes());
    bytes
}

/// Takes fields from the start of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        self.bytes(LEN)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.bytes(usize::try_from(len).ok()?)
    }

    /// A header's value, `None` inside if it is empty.
    #[expect(clippy::option_option)]
    fn value(&mut self) -> Option<Option<String>> {
        let text = core::str::from_utf8(self.field()?).ok()?;
        let is_sound = text.bytes().all(|byte| byte >= b' ' && byte != 0x7f);
        is_sound.then(|| (!text.is_empty()).then(|| text.to_owned()))
    }
}

/// The end of a sentence says why not.
pub(super) fn read(bytes: &[u8], url: &str) -> Result<(Key, Page, Place), &'static str> {
    if !bytes.starts_with(&MAGIC[..6]) {
        return Err("it is no state of a poller");
    }
    if !bytes.starts_with(MAGIC) {
        return Err("it is of another version");
    }
    let sound = bytes.split_last_chunk().filter(|(bytes, kept)| sum(bytes) == u64::from_le_bytes(**kept));
    let (key, of_url, page, place) = sound.and_then(|(bytes, _)| fields(bytes)).ok_or("it is damaged")?;
    if of_url != key.hash(url.as_bytes()) {
        return Err("it is of another URL");
    }
    Ok((key, page, place))
}

fn fields(bytes: &[u8]) -> Option<(Key, u64, Page, Place)> {
    let mut reader = Reader(bytes.get(MAGIC.len()..)?);
    let key = Key::new(reader.array()?);
    let [flags] = reader.array()?;
    let (of_url, above) = (reader.number()?, reader.number()?);
    let (offset, read_to) = (reader.number()?, reader.number()?);
    let (hash, len) = (reader.number()?, reader.number()?);
    let validators = Validators { etag: reader.value()?, modified: reader.value()? };
    let (tail, waits) = (reader.field()?.to_vec(), reader.field()?);
    let waits = (flags & OPEN_WAITS != 0).then(|| waits.to_vec());
    let open = (flags & HAS_OPEN != 0).then_some(Open { hash, len: usize::try_from(len).ok()?, waits });
    let count = reader.number()?;
    let (lines, rest) = reader.0.as_chunks::<8>();
    if lines.len() as u64 != count || !rest.is_empty() {
        return None;
    }
    let lines = lines.iter().map(|line| u64::from_le_bytes(*line)).collect();
    let page = Page { lines, above, open, newest_first: flags & NEWEST_FIRST != 0 };
    let has_ranges = flags & HAS_RANGES != 0;
    let place = Place { validators, has_ranges, offset, tail, read_to, is_known: true, ..Place::default() };
    Some((key, of_url, page, place))
}
