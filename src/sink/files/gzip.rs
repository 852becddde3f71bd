//! Files of gzip (RFC 1952): what `zcat`, `zless` and `lnav` read. The frame is ours, the deflating `miniz_oxide`'s (the feature
//! `compress`), the unpacking in `gunzip.rs`. Invariant: what a file is said to hold, its own last bytes say.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::path::opened_to_read;
use crate::gunzip::{Crc, HEADER_BYTES, MAGIC, Trailer, len_of};

/// What a compressed file's name ends with.
pub(super) const ENDING: &str = ".gz";
/// CRC and length.
const TRAILER_BYTES: u64 = 8;
/// Read and written at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Of a larger file that is there twice, only the length is compared.
const MOST_COMPARED_BYTES: u64 = 64 * 1024 * 1024;

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

fn crc_of(file: &File) -> io::Result<u32> {
    let (mut crc, mut buffer) = (Crc::EMPTY, vec![0; PIECE_BYTES]);
    let mut left = MOST_COMPARED_BYTES;
    loop {
        let count = read_some(file, &mut buffer)?;
        left = left.saturating_sub(count as u64);
        if count == 0 || left == 0 {
            return Ok(crc.value());
        }
        crc.add(buffer.get(..count).unwrap_or_default());
    }
}

#[inline(never)] // one copy, for size
fn read_some(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
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
        source: &File,
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
            let count = read_some(source, input)?;
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
    #[cfg(feature = "compress")]
    use super::*;
    #[cfg(feature = "compress")]
    use crate::gunzip::Unpacked;

    #[cfg(feature = "compress")]
    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        // All that is asked for, and one byte at a time.
        let unpacked = |most: usize| {
            let mut rest = io::Cursor::new(bytes.to_vec());
            Unpacked::new(move |buffer| {
                let count = buffer.len().min(most);
                rest.read(&mut buffer[..count])
            })
        };
        let (mut whole, mut slow) = (Vec::new(), Vec::new());
        let at_once = unpacked(usize::MAX).read_to_end(&mut whole);
        let slowly = unpacked(1).read_to_end(&mut slow);
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
}
