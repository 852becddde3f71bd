//! Where the real clients are: in the tree of unpacked packages that `LUMBERJACK_PEERS` names, then on this machine.
//! `.ci/install-clients` makes that tree, `LUMBERJACK_NODE_MODULES`, and `LUMBERJACK_GO_SENDER`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(feature = "syslog")]
use crate::common::patience::output_of;

/// Why a client can't be run here: a sentence.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

/// The root of unpacked packages, if there is one.
fn peers() -> Option<PathBuf> {
    env::var_os("LUMBERJACK_PEERS").filter(|root| !root.is_empty()).map(PathBuf::from)
}

/// Folders in `folder` whose names fit, in order of name.
fn folders(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fitting = entries.filter(|entry| entry.file_name().to_str().is_some_and(&fits) && entry.path().is_dir());
    let mut paths: Vec<PathBuf> = fitting.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// `usr/lib/x86_64-linux-gnu` and its like.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let parents = [root.join("usr/lib"), root.join("lib")];
    parents.iter().flat_map(|parent| folders(parent, |name| name.contains("-linux-"))).collect()
}

/// A program that was found.
pub(crate) struct Program {
    path: PathBuf,
    /// The root of the tree that it was unpacked into; an installed one has none.
    unpacked_in: Option<PathBuf>,
}

impl Program {
    pub(crate) fn find(name: &str) -> Result<Self, Missing> {
        if let Some(root) = peers() {
            let places = ["usr/bin", "usr/sbin", "bin", "sbin"];
            let found = places.iter().map(|place| root.join(place).join(name)).find(|path| path.is_file());
            if let Some(path) = found {
                return Ok(Self { path, unpacked_in: Some(root) });
            }
        }
        let mut places: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        // Where daemons are, and which a user's PATH may leave out.
        places.extend([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
        let found = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
        let path = found.ok_or_else(|| Missing(format!("{name} is neither in PATH nor under LUMBERJACK_PEERS")))?;
        Ok(Self { path, unpacked_in: None })
    }

    /// A file of its packages.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.unpacked_in.as_deref().unwrap_or(Path::new("/")).join(path)
    }

    /// Where it is.
    #[cfg(feature = "status")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A command with what an unpacked program needs to find its libraries.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("LC_ALL", "C.UTF-8");
        if let Some(root) = &self.unpacked_in {
            let mut places = library_folders(root);
            places.push(root.join("usr/lib/syslog-ng"));
            command.env("LD_LIBRARY_PATH", env::join_paths(places).unwrap());
            // syslog-ng's programs, loggen too, look for their plug-ins under this.
            command.env("SYSLOGNG_PREFIX", root.join("usr"));
        }
        command
    }

    /// rsyslogd's plug-ins, if it was unpacked.
    pub(crate) fn rsyslog_modules(&self) -> Option<PathBuf> {
        let root = self.unpacked_in.as_ref()?;
        library_folders(root).into_iter().map(|place| place.join("rsyslog")).find(|place| place.is_dir())
    }

    /// syslog-ng's plug-ins, if it was unpacked: in a folder named after the version.
    pub(crate) fn syslog_ng_modules(&self) -> Option<PathBuf> {
        let root = self.unpacked_in.as_ref()?.join("usr/lib/syslog-ng");
        folders(&root, |name| name.starts_with(|first: char| first.is_ascii_digit())).pop()
    }
}

/// `java` with a class path of these jars. It compiles the one source file that it is given, which takes a JDK.
pub(crate) fn java(jars: &[&str]) -> Result<Command, Missing> {
    let (java, _compiler) = (Program::find("java")?, Program::find("javac")?);
    let roots: Vec<PathBuf> = peers().into_iter().chain([PathBuf::from("/")]).collect();
    let mut class_path = Vec::new();
    for jar in jars {
        let found = roots.iter().map(|root| root.join("usr/share/java").join(jar)).find(|path| path.is_file());
        let why = || Missing(format!("{jar} is neither in /usr/share/java nor under LUMBERJACK_PEERS"));
        class_path.push(found.ok_or_else(why)?);
    }
    let mut command = java.command();
    command.arg("-cp").arg(env::join_paths(class_path).unwrap());
    Ok(command)
}

/// `node`, once these packages are known to be there.
pub(crate) fn node(packages: &[&str]) -> Result<Command, Missing> {
    let modules = env::var_os("LUMBERJACK_NODE_MODULES").map_or_else(OsString::new, OsString::from);
    for package in packages {
        if modules.is_empty() || !Path::new(&modules).join(package).is_dir() {
            return Err(Missing(format!("the npm package {package} is not in LUMBERJACK_NODE_MODULES")));
        }
    }
    let mut command = Program::find("node")?.command();
    command.env("NODE_PATH", modules);
    Ok(command)
}

/// `python3` that knows graypy.
#[cfg(feature = "syslog")]
pub(crate) fn graypy() -> Result<Command, Missing> {
    let python = Program::find("python3")?;
    let known = || {
        let mut command = python.command();
        if let Some(root) = peers() {
            command.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
        }
        command
    };
    let output = output_of(known().args(["-c", "import graypy"]));
    if output.is_ok_and(|output| output.status.success()) {
        return Ok(known());
    }
    Err(Missing("graypy is neither in Python's path nor under LUMBERJACK_PEERS".to_owned()))
}

/// The built `syslog.go`.
#[cfg(feature = "syslog")]
pub(crate) fn go_sender() -> Result<Command, Missing> {
    let path = env::var_os("LUMBERJACK_GO_SENDER").map(PathBuf::from).filter(|path| path.is_file());
    path.map(Command::new)
        .ok_or_else(|| Missing("LUMBERJACK_GO_SENDER names no built tests/clients/syslog.go".to_owned()))
}
