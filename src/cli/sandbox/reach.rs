//! Which places a running server needs: the directories of its outputs and of its spool to write, those of its config file and
//! of its secrets to read, and what the C library and the loop read of the system. Invariant: no directory of the system
//! itself, such as `/etc`, is ever written.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::cli::settings::{Sandbox, Settings};
use crate::config::listen::ListenAddr;
use crate::config::text::{as_text, escaped};
#[cfg(feature = "tls")]
use crate::config::tls_options::TlsFile;
use crate::sink::OutputAddr;

/// Directories that hold what a system needs to run: nobody who is let into one is confined.
const SYSTEM: [&str; 11] = ["/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];
/// Directories that hold those of everybody else.
const SHARED: [&str; 4] = ["/home", "/root", "/run", "/var"];

/// Which of these are read at each look-up.
const LOOKED_INTO: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
/// Files that tell how names are looked up, what time it is here, and who is who. Of `/etc` these alone.
const FILES: [&str; 12] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/host.conf",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/TZ",
    "/etc/machine-id",
    "/etc/passwd",
    "/etc/group",
];
/// What tells what this process and its memory are (which of other processes shows what all may know of them: the kernel keeps
/// who is confined so from looking into them); and time zones. A rule for `/proc/self` alone would be lost when the kernel
/// forgets that directory for a while.
const FOLDERS: [&str; 6] =
    ["/proc", "/sys/fs/cgroup", "/usr/share/zoneinfo", "/share/zoneinfo", "/etc/zoneinfo", "/var/lib/dbus"];
/// Where glibc has what it looks names up with, which it loads at the first look-up.
#[cfg(target_env = "gnu")]
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
/// The box's store of authorities, and what its links lead to. Not `/etc/ssl`, where keys are too.
#[cfg(feature = "tls")]
const STORE: [&str; 7] = [
    "/etc/ssl/certs",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/tty", "/dev/urandom", "/dev/random"];

/// What may be done at a place, and below it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A file, or a directory and what is in it, is read.
    Read,
    /// Files and directories are made, written, renamed and removed.
    Write,
    /// A device, a fifo or a terminal is written and asked what it is.
    Device,
    /// The file of a Unix socket is removed at the end.
    Leave,
}

impl Use {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Device => "write to a device",
            Self::Leave => "remove sockets",
        }
    }
}

/// Places with what may be done there.
#[derive(Default)]
pub(super) struct Reach {
    pub(super) places: Vec<(PathBuf, Use)>,
    /// Whether what is to be made is made already.
    is_open: bool,
    /// Whether what another takes the place of may be lost.
    is_strict: bool,
    /// Why files can't be confined at all.
    pub(super) too_wide: Option<String>,
    /// What will not be seen once it is replaced.
    pub(super) fixed: Vec<String>,
}

impl Reach {
    /// That of these settings, whose outputs and listeners are open, or are to be. Strict: what is replaced later may be lost; else whatever
    /// works without a sandbox goes on to work.
    pub(super) fn of(settings: &Settings, is_open: bool) -> Self {
        let is_strict = settings.sandbox != Sandbox::Auto;
        let mut reach = Self { is_open, is_strict, ..Self::default() };
        for output in &settings.outputs {
            reach.output(output, settings, is_strict);
        }
        #[cfg(feature = "spool")]
        if let Some(dir) = &settings.output.spool.dir {
            reach.writes("--spool", dir.path(), usize::from(!is_strict));
        }
        #[cfg(feature = "poll")]
        if let Some(dir) = &settings.poll.state {
            reach.writes("--poll-state", dir, usize::from(!is_strict));
        }
        for (flag, path) in files(settings) {
            reach.reads(flag, path, is_strict);
        }
        reach.sockets(settings);
        reach.system(is_strict, looks_names_up(settings));
        reach
    }

    fn add(&mut self, path: impl Into<PathBuf>, what: Use) {
        let place = (path.into(), what);
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    fn output(&mut self, output: &OutputAddr, settings: &Settings, is_strict: bool) {
        if *output == OutputAddr::stdout() {
            // It is opened anew by the name that it has here.
            if let Ok(path) = fs::canonicalize("/proc/self/fd/1")
                && fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir())
            {
                self.add(path, Use::Device);
            }
            return;
        }
        let Some(file) = output.file_path() else { return };
        self.links(file, Use::Write);
        match fs::canonicalize(file) {
            Ok(path) if fs::metadata(&path).is_ok_and(|found| found.file_type().is_char_device()) => {
                return self.device(&path, is_strict);
            }
            // A pipe without a name, which `/dev/stdout` may lead to: the kernel's rules are not for it.
            Err(_) if fs::metadata(file).is_ok_and(|found| !found.is_file()) => return,
            _ => {}
        }
        let above = match (settings.output.make_dirs, is_strict) {
            (true, _) => usize::MAX,
            (false, false) => 1,
            (false, true) => 0,
        };
        for folder in output.uses(&settings.output).folders() {
            self.writes(&format!("--output {}", output.name()), folder, above);
        }
    }

    /// One that is unplugged and plugged in again is another. Root would be let to all disks with it.
    fn device(&mut self, path: &Path, is_strict: bool) {
        self.add(path, Use::Device);
        if !is_strict && !geteuid().is_root() {
            self.add("/dev", Use::Device);
        }
    }

    /// A directory that is written, or what is there of the path to it. With so many above it, in which it is made, or made anew, as
    /// far as those are nobody else's.
    fn writes(&mut self, who: &str, folder: &Path, above: usize) {
        let Some(there) = there(folder) else { return };
        if is_of(&there, &SYSTEM) {
            if !self.is_open && !folder.is_dir() {
                return;
            }
            self.too_wide.get_or_insert_with(|| {
                format!(
                    "{who} is in {}, where all of the system could be written: give it a directory of its own",
                    shown(&there)
                )
            });
            return;
        }
        self.add(&there, Use::Write);
        self.above(there, Use::Write, above);
        self.links(folder, Use::Write);
    }

    /// So many directories above one, in which it is made, or made anew, as far as those are nobody else's.
    fn above(&mut self, mut there: PathBuf, what: Use, count: usize) {
        for _ in 0..count {
            there.push("..");
            if is_of_others(&there) {
                break;
            }
            self.add(&there, what);
        }
    }

    /// The directories of links on the way to a place, which may be switched to lead elsewhere, as far as those are nobody else's.
    fn links(&mut self, path: &Path, what: Use) {
        if self.is_strict {
            return;
        }
        for folder in folders_of_links(path) {
            if !is_of_others(&folder) {
                self.add(folder, what);
            }
        }
    }

    /// A file that is read again later, with its directory, where a newer one takes its place; and the same of what a link leads
    /// to. A file directly in a directory of the system alone.
    fn reads(&mut self, flag: &str, path: &Path, is_strict: bool) {
        if !path.is_file() {
            return;
        }
        self.links(path, Use::Read);
        let target = fs::canonicalize(path);
        for one in [Some(path), target.as_deref().ok()].into_iter().flatten() {
            let Some(folder) = folder_of(one) else { continue };
            if !is_of(&folder, &SYSTEM) {
                self.add(&folder, Use::Read);
                self.above(folder, Use::Read, usize::from(!is_strict));
                continue;
            }
            self.add(one, Use::Read);
            let where_it_is = format!("{flag}{} is directly in {}", shown(path), shown(&folder));
            if is_strict {
                self.too_wide.get_or_insert_with(|| {
                    format!("{where_it_is}, all of which could be read: put it into a directory of its own")
                });
            } else {
                if self.etc_for_others(&folder) {
                    continue;
                }
                let sentence = format!(
                    "{where_it_is}: once another file takes its place it can't be read again until a restart; put it into a directory of its own"
                );
                // What leads to it may be there too, and others may name the same file.
                if !self.fixed.contains(&sentence) {
                    self.fixed.push(sentence);
                }
            }
        }
    }

    /// All of `/etc`, if it is that, for who is not root: no more of it than what everybody may read. Whether it was.
    fn etc_for_others(&mut self, folder: &Path) -> bool {
        let is_let_in = !geteuid().is_root() && is_of(folder, &["/etc"]);
        if is_let_in {
            self.add("/etc", Use::Read);
        }
        is_let_in
    }

    fn sockets(&mut self, settings: &Settings) {
        let listeners = settings.config.listen.iter().map(|listen| &listen.at);
        #[cfg(feature = "status")]
        let listeners = listeners.chain(&settings.status);
        for at in listeners {
            let ListenAddr::Unix(path) = at else { continue };
            // In a directory of the system it is left behind; the next start finds that nobody listens there.
            if let Some(folder) = folder_of(path).filter(|folder| !is_of(folder, &SYSTEM)) {
                self.add(folder, Use::Leave);
            }
        }
    }

    /// If names are looked up, with newer files that take the place of those in `/etc`, unless it is to be strict.
    fn system(&mut self, is_strict: bool, looks_names_up: bool) {
        for file in FILES {
            self.add(file, Use::Read);
            if let Ok(target) = fs::canonicalize(file)
                && target != Path::new(file)
                && let Some(folder) = folder_of(&target).filter(|folder| !is_of(folder, &SYSTEM))
            {
                self.add(folder, Use::Read);
            }
        }
        FOLDERS.into_iter().for_each(|folder| self.add(folder, Use::Read));
        DEVICES.into_iter().for_each(|device| self.add(device, Use::Device));
        #[cfg(target_env = "gnu")]
        LIBRARIES.into_iter().for_each(|folder| self.add(folder, Use::Read));
        #[cfg(feature = "tls")]
        {
            STORE.into_iter().for_each(|place| self.add(place, Use::Read));
            if let Some(file) = env::var_os("SSL_CERT_FILE") {
                self.add(file, Use::Read);
            }
        }
        // As in `TZ=:/etc/localtime`.
        let zone = env::var("TZ").unwrap_or_default();
        let zone = Path::new(zone.strip_prefix(':').unwrap_or(&zone));
        if zone.is_absolute() {
            self.add(zone, Use::Read);
            if let Some(folder) = folder_of(zone).filter(|folder| !is_of(folder, &SYSTEM)) {
                self.add(folder, Use::Read);
            }
        }
        if looks_names_up && (is_strict || !self.etc_for_others(Path::new("/etc"))) {
            let is_plain = |file: &&str| fs::canonicalize(file).is_ok_and(|path| path == Path::new(file));
            let plain: Vec<_> = LOOKED_INTO.into_iter().filter(is_plain).collect();
            if !plain.is_empty() {
                self.fixed.push(format!(
                    "once another file takes the place of {}, no name is looked up until a restart: this may not read all of /etc; let it be a link into a directory of its own, or take --sandbox auto and another user than root",
                    plain.join(" or ")
                ));
            }
        }
    }
}

/// Files that are read again while the program runs, with their options.
fn files(settings: &Settings) -> Vec<(&'static str, &Path)> {
    let mut files = Vec::new();
    if let Some(path) = &settings.config_file {
        files.push(("--config ", Path::new(path)));
    }
    #[cfg(feature = "http")]
    if let Some(path) = &settings.http_auth {
        files.push(("--http-auth ", path.as_path()));
    }
    #[cfg(feature = "nats")]
    if let Some(path) = &settings.output.nats.creds {
        files.push(("--nats-creds ", path.as_path()));
    }
    #[cfg(feature = "tls")]
    add_certificates(settings, &mut files);
    files
}

/// Those of TLS, which a reload reads again.
#[cfg(feature = "tls")]
fn add_certificates<'s>(settings: &'s Settings, files: &mut Vec<(&'static str, &'s Path)>) {
    for listen in &settings.config.listen {
        let options = &listen.options;
        let all = [("cert=", &options.cert), ("key=", &options.key), ("client-ca=", &options.client_ca)];
        files.extend(all.into_iter().filter_map(|(flag, file)| Some((flag, TlsFile::path(file)?))));
    }
    let behind = ["ca=", "cert=", "key="];
    let all = settings.outputs.iter().filter_map(OutputAddr::tls).map(|tls| (behind, tls));
    for (flags, tls) in all.chain([(["--tls-ca ", "--tls-cert ", "--tls-key "], &settings.tls)]) {
        let given = flags.into_iter().zip([&tls.ca, &tls.cert, &tls.key]);
        files.extend(given.filter_map(|(flag, path)| Some((flag, path.as_deref()?))));
    }
}

/// Whether there is somebody whose name may be looked up.
fn looks_names_up(settings: &Settings) -> bool {
    let is_beyond = |output: &&OutputAddr| output.file_path().is_none() && **output != OutputAddr::stdout();
    #[cfg(feature = "poll")]
    let polls = settings.poll.polls.iter().any(|poll| has_name(&as_text(&poll)));
    #[cfg(not(feature = "poll"))]
    let polls = false;
    #[cfg(feature = "alert")]
    let tells = settings.alert.url.as_deref().is_some_and(has_name);
    #[cfg(not(feature = "alert"))]
    let tells = false;
    polls || tells || settings.outputs.iter().filter(is_beyond).any(|output| has_name(&as_text(output)))
}

/// Whether an address such as `nats://b1.example,192.0.2.7/logs`, or `tcp:[2001:db8::7]:4445`, has a name in it that is no number.
fn has_name(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://").or_else(|| text.split_once(':')) else { return false };
    let hosts = if rest.starts_with('/') { "" } else { rest.split(['/', '?']).next().unwrap_or_default() };
    // Behind some there are options.
    let hosts = hosts.split(',').take_while(|host| !host.contains('='));
    hosts.map(|host| host.rsplit('@').next().unwrap_or_default()).any(|host| {
        let is_number = host.is_empty() || host.starts_with('[');
        !is_number && host.split(':').next().is_some_and(|host| host.parse::<Ipv4Addr>().is_err())
    })
}

/// What is there of the path to a directory. As it was given: without links it may be another, if it leads through `/proc`.
fn there(folder: &Path) -> Option<PathBuf> {
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    folder.ancestors().map(here).find(|path| path.is_dir())
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    there(path.parent()?)
}

/// The directories that hold the links on the way to a place, and on the ways that those lead, and what those lead to.
fn folders_of_links(path: &Path) -> Vec<PathBuf> {
    let (mut folders, mut links, mut ways) = (Vec::new(), Vec::new(), vec![path.to_owned()]);
    // The kernel follows no more.
    while let Some(way) = ways.pop().filter(|_| links.len() < 40) {
        for link in way.ancestors() {
            let Ok(target) = fs::read_link(link) else { continue };
            let folder = link.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !links.contains(&link.to_owned()) {
                links.push(link.to_owned());
                let way = folder.join(target);
                folders.extend([Some(folder), way.parent()].into_iter().flatten().map(Path::to_owned));
                ways.push(way);
            }
        }
    }
    folders
}

/// Whether a directory is the system's, or holds those of everybody, or is somebody's home.
fn is_of_others(folder: &Path) -> bool {
    is_of(folder, &SYSTEM) || is_of(folder, &SHARED) || is_of(&folder.join(".."), &["/home"])
        // The links there are the kernel's own.
        || folder.starts_with("/proc")
}

/// Whether it is one of these, whatever it is called here.
fn is_of(path: &Path, list: &[&str]) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let own = identity(path);
    list.iter().any(|one| own.is_some() && own == identity(Path::new(one)))
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_directly_in_a_directory_of_the_system_is_told_of_once_and_by_its_option() {
        let mut reach = Reach::default();
        reach.reads("cert=", Path::new("/proc/version"), false);
        reach.reads("cert=", Path::new("/proc/version"), false);
        reach.reads("--config ", Path::new("/proc/version"), false);
        let said: Vec<&str> = reach.fixed.iter().filter_map(|sentence| sentence.split(':').next()).collect();
        assert_eq!(said, ["cert=/proc/version is directly in /proc", "--config /proc/version is directly in /proc"]);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_and_keys_are_told_of_by_their_options() {
        let mut settings = Settings::default();
        settings.config.listen = vec!["127.0.0.1:1,tls,cert=a,key=b,client-ca=c".parse().unwrap()];
        settings.outputs = vec!["tcp+tls:h:1,ca=d,cert=e,key=f".parse().unwrap()];
        settings.tls.ca = Some("g".into());
        let said: Vec<String> =
            files(&settings).into_iter().map(|(flag, path)| format!("{flag}{}", path.display())).collect();
        assert_eq!(said, ["cert=a", "key=b", "client-ca=c", "ca=d", "cert=e", "key=f", "--tls-ca g"]);
    }

    #[test]
    fn only_names_are_looked_up() {
        for (text, is_name) in [
            ("tcp:192.0.2.7:4445", false),
            ("tcp:[2001:db8::7]:4445", false),
            ("unix:/run/x.sock", false),
            ("tcp:collector:4445", true),
            ("nats://192.0.2.7,b2.example:4222/logs", true),
            ("nats://192.0.2.7,192.0.2.8/logs.b.c", false),
            ("plc-7=http://user@192.0.2.7:8080/log.txt?a=b:c", false),
            ("loki+https://logs.example/", true),
            ("tcp+tls:192.0.2.7:6514,ca=/etc/lumberjack/ca.pem,server-name=office", false),
            ("tcp+tls:office:6514,ca=ca.pem", true),
        ] {
            assert_eq!(has_name(text), is_name, "{text}");
        }
    }
}
