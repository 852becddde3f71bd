//! What the file of a host is called: `{host}` in its name stands for the host. Invariant: a name leads back to its host,
//! holds letters, digits, `.`, `-` and `_` only, and begins with a letter or a digit, so that no shell and no file system,
//! FAT included, takes it for something else.
//!
//! | host | name |
//! | --- | --- |
//! | an IPv4 address | `192.0.2.7` |
//! | an IPv6 network, of which 64 bits tell it from others | `2001-db8-0-1` |
//! | a link-local IPv6 neighbour, with the number of its interface | `fe80-0-0-0-0-0-0-1_2` |
//! | clients of Unix sockets | `unix` |
//! | hosts beyond `--host-files` | `other` |

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::opener::mount_points;
use super::path::{folder_of, shown, walk};
use super::rotate::{numbered_name, unfinished_name};
use crate::config::output::HOST_WORD;
use crate::engine::peer::Host;

/// The name of the file that hosts share for which there is none.
const OTHERS: &str = "other";
/// The longest name: a link-local neighbour's, at an interface with the largest number.
const LONGEST: &str = "fe80-ffff-ffff-ffff-ffff-ffff-ffff-ffff_4294967295";
/// What is added to a name: the number of a rotated file, or what one has that is being made or compressed.
const LONGEST_ENDING: usize = ".9999.gz.new".len();
/// The longest name of a file that Linux takes, in bytes.
const NAME_MAX: usize = 255;

/// Whose file it is; `None`: that of all others.
pub(super) type Owner = Option<Host>;

/// What a host is called in a file's name.
#[inline(never)] // one copy, for size
pub(super) fn name_of(owner: Owner) -> String {
    match owner {
        Some(Host::V4(ip)) => Ipv4Addr::from(ip).to_string(),
        Some(Host::V6(network)) => groups(&network),
        Some(Host::LinkLocal(ip, scope)) => format!("{}_{scope}", groups(&ip)),
        Some(Host::Unix) => "unix".to_owned(),
        None => OTHERS.to_owned(),
    }
}

/// Groups of 16 bits in hexadecimal, each written, with `-` between them.
fn groups(bytes: &[u8]) -> String {
    let mut text = String::new();
    for pair in bytes.chunks(2) {
        let dash = if text.is_empty() { "" } else { "-" };
        let group = pair.iter().fold(0_u16, |group, byte| group << 8 | u16::from(*byte));
        // Writing to a `String` can't fail.
        let _ = write!(text, "{dash}{group:x}");
    }
    text
}

/// Whose name it is, if it is one.
fn owner_of(name: &[u8]) -> Option<Owner> {
    let text = str::from_utf8(name).ok()?;
    let owner = match text {
        "unix" => Some(Host::Unix),
        OTHERS => None,
        _ => Some(host_of(text)?),
    };
    (name_of(owner) == text).then_some(owner)
}

fn host_of(text: &str) -> Option<Host> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(Host::V4(ip.octets()));
    }
    let (groups, scope) = text.split_once('_').map_or((text, None), |(groups, scope)| (groups, Some(scope)));
    let mut bytes = Vec::new();
    for group in groups.split('-') {
        bytes.extend(u16::from_str_radix(group, 16).ok()?.to_be_bytes());
    }
    match scope {
        Some(scope) => Some(Host::LinkLocal(bytes.try_into().ok()?, scope.parse().ok()?)),
        None => Some(Host::V6(bytes.try_into().ok()?)),
    }
}

/// Where `{host}` stands in a pattern.
fn place_of_host(pattern: &[u8]) -> Option<usize> {
    pattern.windows(HOST_WORD.len()).position(|window| window == HOST_WORD.as_bytes())
}

/// The path of an owner's file.
pub(super) fn path_of(pattern: &Path, owner: Owner) -> PathBuf {
    path_with(pattern, &name_of(owner))
}

#[inline(never)] // one copy, for size
fn path_with(pattern: &Path, name: &str) -> PathBuf {
    let bytes = pattern.as_os_str().as_bytes();
    let Some(at) = place_of_host(bytes) else { return pattern.to_owned() };
    let (before, after) = bytes.split_at(at);
    let after = after.get(HOST_WORD.len()..).unwrap_or_default();
    OsString::from_vec([before, name.as_bytes(), after].concat()).into()
}

/// A file of each kind of host.
pub(super) fn examples(pattern: &Path) -> impl Iterator<Item = PathBuf> {
    let host = |text: &str| path_with(pattern, text);
    ["1.2.3.4", "1-2-3-4", "1-2-3-4-5-6-7-8_9", "unix", OTHERS].map(host).into_iter()
}

/// Whether a file's name is that of a host's file, which was not rotated. `pattern` is the name of the pattern.
pub(super) fn is_of_host(pattern: &[u8], name: &[u8]) -> bool {
    owner_in(Path::new(OsStr::from_bytes(pattern)), name).is_some_and(|(_, number)| number == 0)
}

/// Whether the name of every host fits into a file's name, and what is added when it is rotated.
pub(super) fn fits(pattern: &Path) -> bool {
    let longest = path_with(pattern, LONGEST);
    longest.file_name().is_some_and(|name| name.len() + LONGEST_ENDING <= NAME_MAX)
}

/// Whose file has this name, under which a host's file or a rotated one of it can be found; and its number, else 0.
pub(super) fn owner_in(pattern: &Path, file_name: &[u8]) -> Option<(Owner, usize)> {
    let pattern = pattern.file_name()?.as_bytes();
    let (before, after) = pattern.split_at(place_of_host(pattern)?);
    let after = after.get(HOST_WORD.len()..)?;
    let owner = |name: &[u8]| owner_of(name.strip_prefix(before)?.strip_suffix(after)?);
    // First as it is: the end of an address looks like a number.
    owner(file_name).map(|owner| (owner, 0)).or_else(|| {
        let (name, number) = numbered_name(file_name)?;
        Some((owner(name)?, number))
    })
}

/// The files of hosts that there are: each with its owner, and its number if it was rotated, else 0. A directory is none of
/// them.
///
/// # Errors
/// The directory can't be read.
pub(super) fn found(pattern: &Path) -> io::Result<Vec<(PathBuf, Owner, usize)>> {
    named(pattern, &|name| owner_in(pattern, name))
}

/// What a kill has left of compressing.
///
/// # Errors
/// The directory can't be read.
pub(super) fn unfinished(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let found = named(pattern, &|name| owner_in(pattern, unfinished_name(name)?).filter(|(_, number)| *number > 0))?;
    Ok(found.into_iter().map(|(path, ..)| path).collect())
}

/// Finds an owner and a number in a name.
type Read<'a> = &'a dyn Fn(&[u8]) -> Option<(Owner, usize)>;

/// The files in whose names `read` finds an owner and a number.
fn named(pattern: &Path, read: Read<'_>) -> io::Result<Vec<(PathBuf, Owner, usize)>> {
    let folder = folder_of(pattern);
    let mut files = Vec::new();
    walk(folder, &mut |name, is_folder| {
        if let Some((owner, number)) = read(name.as_bytes()).filter(|_| !is_folder) {
            files.push((folder.join(name), owner, number));
        }
    })?;
    Ok(files)
}

/// What has the name of a host's file and keeps that from being written or rotated, as a sentence; the first such thing.
///
/// # Errors
/// The directory can't be read.
pub(super) fn in_the_way(pattern: &Path, rotates: bool) -> io::Result<Option<String>> {
    let folder = fs::canonicalize(folder_of(pattern))?;
    // The name that a new file has first belongs to rotating, too.
    let number_of = |path: &Path| {
        let name = path.file_name()?.as_bytes();
        let is_new = || owner_in(pattern, name.strip_suffix(b".new")?).map(|_| 1);
        owner_in(pattern, name).map(|(_, number)| number).or_else(is_new)
    };
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let number = number_of(&entry.path()).filter(|number| *number == 0 || rotates);
        if let Some(number) = number.filter(|_| entry.file_type().is_ok_and(|found| found.is_dir())) {
            let harm =
                if number == 0 { "no line of its host can be written" } else { "its host's file can't be rotated" };
            let path = shown(&entry.path());
            return Ok(Some(format!("{path} is a directory, so that {harm}: move that away")));
        }
    }
    let mounts = if rotates { mount_points() } else { Vec::new() };
    let mounted = mounts.iter().find(|path| path.parent() == Some(&*folder) && number_of(path).is_some());
    Ok(mounted.map(|path| {
        let path = shown(path);
        format!("{path} is mounted on its own, so that its host's file can't be rotated: mount the directory instead")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::peer::Peer;
    use std::net::SocketAddr;

    fn host(text: &str) -> Host {
        Peer::from(text.parse::<SocketAddr>().unwrap()).host()
    }

    #[test]
    fn a_hosts_name_is_safe_and_leads_back_to_it() {
        for (owner, name) in [
            (Some(host("192.0.2.7:1")), "192.0.2.7"),
            (Some(host("[2001:db8:0:1::7]:1")), "2001-db8-0-1"),
            (Some(host("[::1]:1")), "0-0-0-0"),
            (Some(host("[fe80::1%2]:1")), "fe80-0-0-0-0-0-0-1_2"),
            (Some(Host::LinkLocal([0xff; 16], u32::MAX)), "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff_4294967295"),
            (Some(Host::Unix), "unix"),
            (None, "other"),
        ] {
            assert_eq!(name_of(owner), name);
            assert!(name.len() <= LONGEST.len());
            for pattern in ["/logs/a-{host}.log", "{host}", "{host}.1"] {
                let pattern = Path::new(pattern);
                let path = path_of(pattern, owner);
                assert_eq!(path, PathBuf::from(pattern.to_str().unwrap().replace("{host}", name)));
                assert_eq!(owner_in(pattern, path.file_name().unwrap().as_bytes()), Some((owner, 0)));
            }
            let rotated = format!("{name}.log.12");
            assert_eq!(owner_in(Path::new("{host}.log"), rotated.as_bytes()), Some((owner, 12)));
        }
    }

    #[test]
    fn what_only_looks_like_a_hosts_file_is_none() {
        for name in [
            "syslog.log",
            "1.2.3.log",
            "1.2.3.4.5.log",
            "01.2.3.4.log",
            "2001-DB8-0-1.log",
            "2001-db8-0.log",
            "2001-0db8-0-1.log",
            "fe80-0-0-0-0-0-0-1_x.log",
            ".log",
        ] {
            assert_eq!(owner_in(Path::new("{host}.log"), name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn p13_a_pattern_that_some_host_does_not_fit_into_is_known() {
        let longest = NAME_MAX - LONGEST.len() - LONGEST_ENDING;
        for (len, expected) in [(longest, true), (longest + 1, false)] {
            assert_eq!(fits(&Path::new("/logs").join("x".repeat(len) + "{host}")), expected, "{len}");
        }
    }
}
