//! A body as gzip (RFC 1952), by `miniz_oxide`. Invariant: what is unpacked of it is the body.

use core::hint::black_box;

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};

use crate::gunzip::{Crc, MAGIC, len_of};

/// Of ten. On logs the sixth, the usual one, takes two to three times as long for 2 %.
const EFFORT: i32 = 4;
/// The window of a format without a frame is said so.
const RAW_WINDOW: i32 = -15;
/// No flags, no time, nothing of the effort, no system.
const REST_OF_HEADER: [u8; 7] = [0, 0, 0, 0, 0, 0, 255];
/// Made at once.
const PIECE_BYTES: usize = 32 * 1024;

type Compress = fn(&mut CompressorOxide, &[u8], &mut [u8], TDEFLFlush) -> (TDEFLStatus, usize, usize);

/// The body, packed; `None` if that can't be done.
pub(super) fn packed(body: &[u8]) -> Option<Vec<u8>> {
    // Not known to the compiler: else there would be a second copy of it.
    let compress = black_box(compress as Compress);
    let mut packer = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(EFFORT, RAW_WINDOW, 0)));
    let mut packed = [&MAGIC[..], &REST_OF_HEADER].concat();
    let (mut rest, mut status) = (body, TDEFLStatus::Okay);
    while status == TDEFLStatus::Okay {
        let end = packed.len();
        packed.resize(end + PIECE_BYTES, 0);
        let (taken, made);
        (status, taken, made) = compress(&mut packer, rest, packed.get_mut(end..)?, TDEFLFlush::Finish);
        packed.truncate(end + made);
        rest = rest.get(taken..)?;
    }
    let mut crc = Crc::EMPTY;
    crc.add(body);
    packed.extend_from_slice(&crc.value().to_le_bytes());
    packed.extend_from_slice(&len_of(body.len() as u64).to_le_bytes());
    (status == TDEFLStatus::Done).then_some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gunzip::Gunzip;

    #[test]
    fn what_is_packed_comes_out_again() {
        let mut noise = 1_u32;
        let noise = (0..300_000).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        for body in [b"a line that comes again\n".repeat(100), Vec::new(), noise.collect()] {
            let packed = packed(&body).unwrap();
            assert!(packed.len() < body.len() / 4 + 32 || body.len() > 10_000);
            let mut gunzip = Gunzip::new(packed, 1 << 20);
            let fault = std::iter::from_fn(|| Some(gunzip.step())).flatten().next();
            assert!(matches!(fault, Some(Ok(()))));
            assert_eq!(gunzip.into_plain(), body);
        }
    }
}
