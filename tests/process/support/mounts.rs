//! File systems in a name space of their own, which is gone with the process that holds it, whatever becomes of this one.
//! They are reached through that process's root.

use std::process::{Command, Stdio};

use super::conditions::{Dir, until};
use crate::common::patience::{Collected, Guard, output_of};
use crate::common::skip::not_here;

/// A folder in which a script has mounted what it likes.
pub(crate) struct Mounts {
    holder: Guard,
    dir: Dir,
}

impl Mounts {
    /// Runs a script as root in a new name space, in the folder. None, and a word, where it fails.
    pub(crate) fn new(script: &str) -> Option<Self> {
        let dir = Dir::new();
        // `cat` ends with its stdin, which is ours.
        let script = format!("cd \"$0\" && {{ {script}; }} && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", &script]).arg(dir.path());
        let spawned = Guard::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let Ok(mut holder) = spawned else {
            not_here("unshare can't be run here");
            return None;
        };
        let word = Collected::from(holder.0.stdout.take().unwrap());
        let why = Collected::from(holder.0.stderr.take().unwrap());
        let is_mounted = until("a word of the mount, or its end", || match word.text().as_str() {
            text if text.ends_with("mounted\n") => Ok(true),
            _ if !holder.is_running() => Ok(false),
            other => Err(other.to_owned()),
        });
        if !is_mounted {
            not_here(&format!("this can't be mounted here: {}", why.text()));
            return None;
        }
        Some(Self { holder, dir })
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("/proc/{}/root{}", self.holder.pid(), self.dir.file(name))
    }

    /// Runs a script there; whether that went well.
    pub(crate) fn run(&self, script: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.pid()));
        command.args(["sh", "-ec", &format!("cd \"$0\" && {script}")]).arg(self.dir.path());
        let output = output_of(&mut command).unwrap();
        eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }
}
