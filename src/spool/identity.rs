//! Whose a spool is: the `lock` of the process that writes it, and the `box` file, with the box id and what machine that was
//! made on. Invariant: the id is in every segment's header too, so a `box` file that is lost is no loss.

use std::io::{self, ErrorKind};

use super::bytes::{are_zero, array_at, put_at, u32_at};
use super::disk::{Disk, read_full_at, write_all_at};
use super::error::Cause;
use super::position;
use super::segment::{BoxId, Name};
use super::sum::sum_of;

/// Locked by who writes.
pub const LOCK: &str = "lock";
/// Says whose it is.
pub const BOX: &str = "box";
const NEW_BOX: &str = "box.new";
const MAGIC: [u8; 8] = *b"LJbox 1\n";
const BOX_BYTES: usize = 64;

/// What stands for a machine: not its own name, which is not to be told. Zero if it has none.
type Machine = [u8; 8];

/// What a `box` file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Whose lines these are.
    pub box_id: BoxId,
    machine: Machine,
}

impl Identity {
    fn encode(self) -> [u8; BOX_BYTES] {
        let mut bytes = [0; BOX_BYTES];
        put_at(&mut bytes, 0, &MAGIC);
        put_at(&mut bytes, 16, &self.box_id.0);
        put_at(&mut bytes, 32, &self.machine);
        let sum = sum_of(b"", bytes.get(12..).unwrap_or_default());
        put_at(&mut bytes, 8, &sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let is_one = bytes.len() == BOX_BYTES
            && bytes.starts_with(&MAGIC)
            && sum_of(b"", bytes.get(12..)?) == u32_at(bytes, 8)?
            && are_zero(bytes.get(40..)?);
        is_one.then_some(Self { box_id: BoxId(array_at(bytes, 16)?), machine: array_at(bytes, 32)? })
    }

    /// Reads the `box` file. `None` if there is none that is whole.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn read<D: Disk>(disk: &D) -> io::Result<Option<Self>> {
        let file = match disk.open(BOX, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = [0; BOX_BYTES + 1];
        match read_full_at(disk, &file, 0, &mut bytes) {
            Ok(count) => Ok(Self::decode(bytes.get(..count).unwrap_or_default())),
            // A bad sector is damage, and no reason not to start.
            Err(_) => Ok(None),
        }
    }

    fn write<D: Disk>(self, disk: &D) -> io::Result<()> {
        match disk.unlink(NEW_BOX) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(NEW_BOX)?;
        write_all_at(disk, &file, 0, &self.encode())?;
        disk.sync(&file)?;
        disk.rename(NEW_BOX, BOX)?;
        disk.sync_directory()
    }
}

/// Whether a directory is a spool's; else it is nobody's: what is left of one that began to be made is.
///
/// # Errors
/// It holds something else, or can't be read.
pub fn is_spool<D: Disk>(disk: &D) -> Result<bool, Cause> {
    let (mut is_ours, mut other) = (false, None);
    disk.list(&mut |name, _| match name {
        BOX => is_ours = true,
        // An empty file system has that.
        LOCK | NEW_BOX | "lost+found" => {}
        _ if Name::parse(name).is_some() || position::is_named_so(name) => is_ours = true,
        _ => other = other.take().or_else(|| Some(name.to_owned())),
    })?;
    other.filter(|_| !is_ours).map_or(Ok(is_ours), |name| Err(Cause::Occupied(name)))
}

/// Takes the lock.
pub(super) fn lock<D: Disk>(disk: &D) -> Result<D::File, Cause> {
    disk.lock(LOCK)?.ok_or(Cause::Locked)
}

/// Settles whose the spool is: the one of the `box` file; if that is lost, the one that the newest segment names; else of
/// `take_over`, or a new one. The `box` file is written if it has to be.
pub(super) fn settle<D: Disk>(disk: &D, in_segments: Option<BoxId>, take_over: Option<BoxId>) -> Result<BoxId, Cause> {
    let machine = disk.machine().map_or([0; 8], |name| machine_of(&name));
    let kept = Identity::read(disk)?;
    let found = kept.map(|kept| kept.box_id).or(in_segments);
    if let (Some(found), Some(wanted)) = (found, take_over)
        && found != wanted
    {
        return Err(Cause::OtherBox { found, wanted });
    }
    match kept {
        Some(kept) if kept.machine == machine || machine == [0; 8] => return Ok(kept.box_id),
        Some(kept) if kept.machine != [0; 8] && take_over.is_none() => return Err(Cause::OtherMachine(kept.box_id)),
        _ => {}
    }
    let box_id = match found.or(take_over) {
        Some(id) => id,
        None => BoxId(disk.random()?),
    };
    match (Identity { box_id, machine }.write(disk), found) {
        // The segments name it as well: what can't be written down today is written down another day.
        (Err(_), Some(_)) => Ok(box_id),
        (written, _) => written.map(|()| box_id).map_err(Cause::Io),
    }
}

fn machine_of(name: &[u8]) -> Machine {
    let halves = [sum_of(b"machine", name), sum_of(b"spool", name)];
    let [[a, b, c, d], [e, f, g, h]] = halves.map(u32::to_le_bytes);
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::super::simulated::SimDisk;
    use super::*;

    const ONE: BoxId = BoxId([1; 16]);
    const OTHER: BoxId = BoxId([2; 16]);

    #[test]
    fn a_box_keeps_its_id_and_a_new_one_gets_one() {
        let disk = SimDisk::new(1);
        let id = settle(&disk, None, None).unwrap();
        assert_eq!(settle(&disk, None, None).unwrap(), id);
        assert_ne!(settle(&SimDisk::new(2), None, None).unwrap(), id);
    }

    #[test]
    fn the_directory_of_another_machine_is_refused_unless_its_place_is_taken() {
        let disk = SimDisk::new(1);
        let id = settle(&disk, None, None).unwrap();
        disk.set_machine(Some("another"));
        assert!(matches!(settle(&disk, None, None), Err(Cause::OtherMachine(found)) if found == id));
        assert!(matches!(settle(&disk, None, Some(OTHER)), Err(Cause::OtherBox { found, .. }) if found == id));
        assert_eq!(settle(&disk, None, Some(id)).unwrap(), id);
        assert_eq!(settle(&disk, None, None).unwrap(), id, "now it is this machine's");
        disk.set_machine(None);
        assert_eq!(settle(&disk, None, None).unwrap(), id, "a machine without a name can't be another one");
    }

    #[test]
    fn the_place_of_a_box_that_is_gone_can_be_taken_with_an_empty_directory() {
        let disk = SimDisk::new(1);
        assert_eq!(settle(&disk, None, Some(ONE)).unwrap(), ONE);
        assert_eq!(settle(&disk, None, None).unwrap(), ONE);
    }

    #[test]
    fn a_lost_or_damaged_box_file_is_made_again_from_the_segments() {
        let disk = SimDisk::new(1);
        assert_eq!(settle(&disk, Some(ONE), None).unwrap(), ONE);
        disk.flip(BOX, 20);
        assert_eq!(Identity::read(&disk).unwrap(), None);
        assert_eq!(settle(&disk, Some(ONE), None).unwrap(), ONE);
        assert!(Identity::read(&disk).unwrap().is_some());
        assert!(matches!(settle(&disk, Some(ONE), Some(OTHER)), Err(Cause::OtherBox { .. })));
    }

    #[test]
    fn one_process_has_it_at_a_time() {
        let disk = SimDisk::new(1);
        assert!(lock(&disk).is_ok());
        assert!(matches!(lock(&disk), Err(Cause::Locked)));
        disk.restart();
        assert!(lock(&disk).is_ok());
    }
}
