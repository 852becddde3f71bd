//! gzip (RFC 1952): what `zcat`, `zless` and `lnav` read. The frame is ours, the deflating `miniz_oxide`'s (the feature
//! `compress`), the inflating in `inflate.rs`. Invariant: memory is bounded, whatever a file holds, and what is given out as
//! unpacked was in the file, or an error comes behind it.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::inflate::{Inflater, Source, broken};
use super::path::opened_to_read;

/// What a compressed file's name ends with.
pub(super) const ENDING: &str = ".gz";
/// How a file begins that was deflated, which is the only way there is.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Magic, flags, time, effort, system.
const HEADER_BYTES: usize = 10;
/// Bits of a header's flags: what stands behind it.
const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
/// One more is a hint, and the others are to be refused.
const HAS_ALL: u8 = 31;
/// CRC and length.
const TRAILER_BYTES: u64 = 8;
/// Read and written at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Of a larger file that is there twice, only the length is compared.
const MOST_COMPARED_BYTES: u64 = 64 * 1024 * 1024;

/// The check sum of gzip, of zip and of Ethernet.
#[derive(Clone, Copy)]
struct Crc(u32);

const CRC_TABLE: [u32; 256] = crc_table();

#[expect(clippy::cast_possible_truncation)] // below 256
const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

impl Crc {
    const EMPTY: Self = Self(u32::MAX);

    fn add(&mut self, bytes: &[u8]) {
        let step = |crc: u32, byte: &u8| CRC_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8;
        self.0 = bytes.iter().fold(self.0, step);
    }

    fn value(self) -> u32 {
        !self.0
    }
}

/// What the last bytes of a file say of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trailer {
    crc: u32,
    /// The rest of a division by 2^32.
    len: u32,
}

impl Trailer {
    fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { crc: u32::from_le_bytes([a, b, c, d]), len: u32::from_le_bytes([e, f, g, h]) }
    }
}

/// Length as a trailer has it.
fn len_of(bytes: u64) -> u32 {
    let [a, b, c, d, ..] = bytes.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// How a compressed file begins and ends; `None` if it is none.
fn frame_of(path: &Path) -> Option<([u8; HEADER_BYTES], Trailer)> {
    let (file, found) = opened_to_read(path).ok()?;
    let (mut header, mut trailer) = ([0; HEADER_BYTES], [0; 8]);
    file.read_exact_at(&mut header, 0).ok()?;
    file.read_exact_at(&mut trailer, found.len().checked_sub(TRAILER_BYTES)?).ok()?;
    header.starts_with(&MAGIC).then_some((header, Trailer::from_bytes(trailer)))
}

/// Whether a compressed file holds what is in the plain one. It was renamed when it was whole and synced, so its trailer
/// tells.
pub(super) fn holds(compressed: &Path, plain: &Path) -> bool {
    let (Some((_, trailer)), Ok((file, found))) = (frame_of(compressed), opened_to_read(plain)) else {
        return false;
    };
    if trailer.len != len_of(found.len()) {
        return false;
    }
    found.len() > MOST_COMPARED_BYTES || crc_of(&file).is_ok_and(|crc| crc == trailer.crc)
}

fn crc_of(mut file: &File) -> io::Result<u32> {
    let (mut crc, mut buffer) = (Crc::EMPTY, vec![0; PIECE_BYTES]);
    let mut left = MOST_COMPARED_BYTES;
    loop {
        let count = read_some(&mut file, &mut buffer)?;
        left = left.saturating_sub(count as u64);
        if count == 0 || left == 0 {
            return Ok(crc.value());
        }
        crc.add(buffer.get(..count).unwrap_or_default());
    }
}

/// When the file was rotated that this one holds, as time since 1970.
pub(super) fn rotated_at(path: &Path) -> Option<Duration> {
    let ([_, _, _, _, a, b, c, d, _, _], _) = frame_of(path)?;
    let seconds = u32::from_le_bytes([a, b, c, d]);
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

/// Bytes of a file before it was compressed; of one that is not, its own.
pub(super) fn plain_len(path: &Path, found: &Metadata) -> u64 {
    let frame = if is_named_so(path) && found.is_file() { frame_of(path) } else { None };
    frame.map_or(found.len(), |(_, trailer)| u64::from(trailer.len))
}

/// Whether a file is to be unpacked to be read.
pub(super) fn is_named_so(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes())
}

#[inline(never)] // one copy, for size
fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A file's bytes, one by one.
struct Input<R> {
    source: R,
    piece: Vec<u8>,
    /// What of it was not used yet.
    at: usize,
    end: usize,
}

impl<R: Read> Input<R> {
    /// Reads more if all was used; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        if self.at >= self.end {
            (self.at, self.end) = (0, read_some(&mut self.source, &mut self.piece)?);
        }
        Ok(self.at < self.end)
    }

    /// Passes over a header; false if there is none.
    fn header(&mut self) -> io::Result<bool> {
        for byte in MAGIC {
            if self.byte()? != byte {
                return Ok(false);
            }
        }
        let flags = self.byte()?;
        if flags & !HAS_ALL != 0 {
            return Ok(false);
        }
        self.skip(HEADER_BYTES - MAGIC.len() - 1)?;
        if flags & HAS_EXTRA != 0 {
            let len = u16::from_le_bytes([self.byte()?, self.byte()?]);
            self.skip(usize::from(len))?;
        }
        for text in [HAS_NAME, HAS_COMMENT] {
            while flags & text != 0 && self.byte()? != 0 {}
        }
        self.skip(if flags & HAS_CRC != 0 { 2 } else { 0 })?;
        Ok(true)
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        (0..bytes).try_for_each(|_| self.byte().map(drop))
    }
}

impl<R: Read> Source for Input<R> {
    fn byte(&mut self) -> io::Result<u8> {
        if !self.refill()? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += 1;
        Ok(self.piece.get(self.at - 1).copied().unwrap_or_default())
    }
}

/// Where the reading of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the header of the first part, or of another behind it.
    Header {
        is_first: bool,
    },
    Body,
    End,
}

/// Reads what a compressed file holds. As of `cat *.gz`, several one behind the other are one.
pub(super) struct Unpacked<R> {
    input: Input<R>,
    inflater: Inflater,
    /// What came out was given out up to there.
    given: usize,
    crc: Crc,
    len: u64,
    place: Place,
    /// Why it ended, if that was not its end. What came out before is given out first.
    error: Option<io::Error>,
}

impl<R: Read> Unpacked<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            input: Input { source, piece: vec![0; PIECE_BYTES], at: 0, end: 0 },
            inflater: Inflater::new(),
            given: 0,
            crc: Crc::EMPTY,
            len: 0,
            place: Place::Header { is_first: true },
            error: None,
        }
    }

    fn begin_part(&mut self, is_first: bool) -> io::Result<()> {
        // As gzip does: what is behind the last part is nobody's.
        let is_part = (is_first || self.input.refill()?) && self.input.header()?;
        if is_first && !is_part {
            return Err(broken());
        }
        self.inflater.begin();
        (self.crc, self.len) = (Crc::EMPTY, 0);
        self.place = if is_part { Place::Body } else { Place::End };
        Ok(())
    }

    fn unpack(&mut self) -> io::Result<()> {
        self.given = self.inflater.next_place();
        let is_end = self.inflater.unpack(&mut self.input);
        let made = self.inflater.made_from(self.given);
        self.crc.add(made);
        self.len += made.len() as u64;
        if !is_end? {
            return Ok(());
        }
        let mut trailer = [0; 8];
        for byte in &mut trailer {
            *byte = self.input.byte()?;
        }
        if Trailer::from_bytes(trailer) != (Trailer { crc: self.crc.value(), len: len_of(self.len) }) {
            return Err(broken());
        }
        self.place = Place::Header { is_first: false };
        Ok(())
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = self.inflater.made_from(self.given);
            let count = ready.len().min(buffer.len());
            if count > 0 || buffer.is_empty() {
                if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.given += count;
                return Ok(count);
            }
            let done = match self.place {
                Place::End => return self.error.take().map_or(Ok(0), Err),
                Place::Body => self.unpack(),
                Place::Header { is_first } => self.begin_part(is_first),
            };
            if let Err(error) = done {
                (self.place, self.error) = (Place::End, Some(error));
            }
        }
    }
}

#[cfg(feature = "compress")]
pub(super) use deflating::pack;

#[cfg(feature = "compress")]
mod deflating {
    use std::hint::black_box;
    use std::io::Write;

    use miniz_oxide::deflate::core::{
        CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
    };

    use super::*;

    /// Of ten. On logs the sixth, the usual one, makes files 2 % smaller and takes two to three times as long.
    const EFFORT: i32 = 4;
    /// The window of a format without a frame is said so.
    const RAW_WINDOW: i32 = -15;
    /// What the header says the system is.
    const UNIX: u8 = 3;

    type Compress = fn(&mut CompressorOxide, &[u8], &mut [u8], TDEFLFlush) -> (TDEFLStatus, usize, usize);

    /// Packs all of `source`, which has `len` bytes and was rotated then, into `into`. False if that was given up: it is
    /// wanted no more, or is no smaller than the source.
    ///
    /// # Errors
    /// Of reading and of writing.
    pub(in crate::sink::files) fn pack(
        mut source: &File,
        len: u64,
        rotated_at: u32,
        mut into: &File,
        is_wanted: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        // Not known to the compiler: in our function it would be made fast, and twice as large.
        let compress = black_box(compress as Compress);
        let mut packer = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(EFFORT, RAW_WINDOW, 0)));
        let mut pieces = vec![0; 2 * PIECE_BYTES];
        let (input, output) = pieces.split_at_mut(PIECE_BYTES);
        let (mut crc, mut read, mut written) = (Crc::EMPTY, 0, HEADER_BYTES as u64 + TRAILER_BYTES);
        let [a, b, c, d] = rotated_at.to_le_bytes();
        into.write_all(&[MAGIC[0], MAGIC[1], MAGIC[2], 0, a, b, c, d, 0, UNIX])?;
        let mut status = TDEFLStatus::Okay;
        while status == TDEFLStatus::Okay {
            let count = read_some(&mut source, input)?;
            let mut rest = input.get(..count).unwrap_or_default();
            crc.add(rest);
            read += count as u64;
            let flush = if count == 0 { TDEFLFlush::Finish } else { TDEFLFlush::None };
            let mut has_more = true;
            while has_more && status == TDEFLStatus::Okay {
                let taken;
                let made;
                (status, taken, made) = compress(&mut packer, rest, output, flush);
                rest = rest.get(taken..).unwrap_or_default();
                written += made as u64;
                if !is_wanted() || written >= len {
                    return Ok(false);
                }
                into.write_all(output.get(..made).unwrap_or_default())?;
                has_more = !rest.is_empty() || made == output.len() || count == 0;
            }
        }
        if status != TDEFLStatus::Done {
            return Err(ErrorKind::Other.into());
        }
        let ([a, b, c, d], [e, f, g, h]) = (crc.value().to_le_bytes(), len_of(read).to_le_bytes());
        // If it is not as long as it was, somebody writes to it, or has cut it.
        into.write_all(&[a, b, c, d, e, f, g, h]).map(|()| read == len)
    }
}

/// What only a build that packs has: without the feature `compress` there is none, and the compiler drops what needs it.
#[cfg(feature = "compress")]
pub(super) struct Packing(());
#[cfg(not(feature = "compress"))]
pub(super) enum Packing {}

/// That, if this build has it.
pub(super) fn packing() -> Option<Packing> {
    #[cfg(feature = "compress")]
    return Some(Packing(()));
    #[cfg(not(feature = "compress"))]
    None
}

/// Nobody calls it.
#[cfg(not(feature = "compress"))]
pub(super) fn pack(_: &File, _: u64, _: u32, _: &File, _: &dyn Fn() -> bool) -> io::Result<bool> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "compress")]
    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        /// One byte at a time.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let one = buffer.len().min(1);
                self.0.read(&mut buffer[..one])
            }
        }
        let (mut whole, mut slow) = (Vec::new(), Vec::new());
        let at_once = Unpacked::new(bytes).read_to_end(&mut whole);
        let slowly = Unpacked::new(Slow(bytes)).read_to_end(&mut slow);
        assert_eq!(at_once.as_ref().err().map(io::Error::kind), slowly.as_ref().err().map(io::Error::kind));
        assert!(whole.starts_with(&slow) || slow.starts_with(&whole));
        at_once.map(|_| whole)
    }

    #[cfg(feature = "compress")]
    fn packed(name: &str, text: &[u8]) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!("lumberjack-gzip-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let source = File::open(&path).unwrap();
        let target = path.with_extension("gz");
        assert!(pack(&source, text.len() as u64, 1, &File::create(&target).unwrap(), &|| true).unwrap());
        let bytes = std::fs::read(&target).unwrap();
        [path, target].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        bytes
    }

    /// With the lengths of lines, and of all, around those of the window and of what is read at once.
    #[test]
    #[cfg(feature = "compress")]
    fn what_was_packed_comes_out_again() {
        for (name, bytes) in [("a", 200), ("b", 32_767), ("c", 32_769), ("d", 65_536), ("e", 65_537), ("f", 1_000_000)]
        {
            let text: Vec<u8> =
                (0..).flat_map(|number: u32| format!("line {}\n", number * number).into_bytes()).take(bytes).collect();
            let packed = packed(name, &text);
            assert!(packed.len() < text.len());
            assert!(unpacked(&packed).unwrap() == text, "{bytes}");
            let twice = [&packed[..], &packed, b"\0\0\0\0"].concat();
            assert!(
                unpacked(&twice).unwrap() == [&text[..], &text].concat(),
                "what is behind the last part is nobody's"
            );
        }
    }

    #[test]
    #[cfg(feature = "compress")]
    fn what_is_cut_or_broken_is_an_error_wherever() {
        let text = b"a line that is long enough to be smaller, smaller, smaller, smaller\n".repeat(3);
        let packed = packed("cut", &text);
        for end in 0..packed.len() {
            assert_eq!(unpacked(&packed[..end]).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{end}");
        }
        // Not the time, the effort and the system.
        for at in (0..4).chain(HEADER_BYTES..packed.len()) {
            let mut broken = packed.clone();
            broken[at] ^= 0x21;
            assert!(unpacked(&broken).is_err(), "{at}");
        }
        assert!(unpacked(b"text").is_err() && unpacked(b"").is_err());
    }

    /// By `printf 'hello\n' | gzip -N` from a file with a name, and with a header that has all there is.
    #[test]
    #[cfg(feature = "compress")]
    fn what_stands_in_a_header_is_passed_over() {
        let body = b"\xcbH\xcd\xc9\xc9\xe7\x02\x00\x20\x30\x3a\x36\x06\x00\x00\x00";
        let extra = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x03\0xyzname\0comment\0cc";
        assert_eq!(unpacked(&[&extra[..], body].concat()).unwrap(), b"hello\n");
        let plain = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
        assert_eq!(unpacked(&[&plain[..], body].concat()).unwrap(), b"hello\n");
    }

    #[test]
    fn the_check_sum_is_that_of_the_standard() {
        let mut crc = Crc::EMPTY;
        assert_eq!(crc.value(), 0);
        crc.add(b"1234");
        crc.add(b"56789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
