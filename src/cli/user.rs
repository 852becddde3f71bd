//! Another user, which root becomes once its sockets are bound (`--user`). Invariant: what of root was given up does not come
//! back, or the program does not start.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use nix::unistd::{Gid, Uid, getegid, geteuid, setgid, setgroups, setuid};

use crate::config::text::escaped;

/// A user of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Account {
    /// The one of this name, as `/etc/passwd` has it: what else a libc may ask is not there in a static program.
    ///
    /// # Errors
    /// There is none, or the file can't be read: the end of a sentence.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let users = fs::read("/etc/passwd").map_err(|error| format!("/etc/passwd can't be read ({error})"))?;
        Self::find_in(name, &String::from_utf8_lossy(&users))
    }

    fn find_in(name: &str, users: &str) -> Result<Self, String> {
        let names = || users.lines().filter_map(|line| line.split(':').next()).filter(|name| !name.is_empty());
        let Some(line) = users.lines().find(|line| line.split(':').next() == Some(name)) else {
            let by_distance = names().map(|real| (strsim::osa_distance(name, real), real));
            let near = by_distance.filter(|(distance, real)| *distance <= real.len().div_ceil(3)).min();
            let near = near
                .map_or_else(|| "name one of those".to_owned(), |(_, real)| format!("did you mean {}?", escaped(real)));
            return Err(format!("there is no such user in /etc/passwd: {near}"));
        };
        let mut numbers = line.split(':').skip(2).map(|text| text.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(0), _) => Err("this is root, who gives up nothing so: name another user, or leave it out".to_owned()),
            // The largest number stands for nobody at all.
            (Some(uid), Some(gid)) if uid != u32::MAX && gid != u32::MAX => {
                Ok(Self { name: name.to_owned(), uid, gid })
            }
            _ => Err("its line in /etc/passwd has no numbers: mend it".to_owned()),
        }
    }

    /// Whether this process is that user already.
    pub(crate) fn is_us(&self) -> bool {
        geteuid().as_raw() == self.uid && getegid().as_raw() == self.gid
    }

    /// Whether this process may become it.
    ///
    /// # Errors
    /// It may not, as a sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        if geteuid().is_root() || self.is_us() {
            return Ok(());
        }
        Err(format!(
            "--user {self}: only root can become another user, and this is run by number {}; start it as root, or leave it out",
            geteuid()
        ))
    }

    /// Becomes it: its groups, its group, itself.
    ///
    /// # Errors
    /// The kernel refuses, as a sentence.
    pub(crate) fn become_it(&self) -> Result<(), String> {
        self.check()?;
        if self.is_us() {
            return Ok(());
        }
        // What `nix` would say takes 12 KB of sentences.
        let refused = |error: nix::Error| {
            format!("--user {self}: the kernel refuses to give up root ({})", io::Error::from(error))
        };
        let groups: Vec<Gid> =
            self.groups().map_err(|error| format!("--user {self}: /etc/group can't be read ({error})"))?;
        setgroups(&groups).map_err(refused)?;
        setgid(Gid::from_raw(self.gid)).map_err(refused)?;
        setuid(Uid::from_raw(self.uid)).map_err(refused)?;
        // With what systemd calls ambient capabilities it could.
        if setuid(Uid::from_raw(0)).is_ok() {
            return Err(format!("--user {self}: this process can become root again; take its capabilities away"));
        }
        Ok(())
    }

    /// Its own group, and those that have it as a member.
    fn groups(&self) -> io::Result<Vec<Gid>> {
        let all = fs::read("/etc/group")?;
        let all = String::from_utf8_lossy(&all);
        let is_member = |line: &str| {
            let mut fields = line.split(':').skip(2);
            let number = fields.next()?.parse::<u32>().ok()?;
            fields.next()?.split(',').any(|member| member == self.name).then_some(number)
        };
        let mut groups = vec![self.gid];
        groups.extend(all.lines().filter_map(is_member).filter(|group| *group != self.gid));
        Ok(groups.into_iter().map(Gid::from_raw).collect())
    }

    /// Whether it may read the config file again, which is a regular file if it is to be.
    ///
    /// # Errors
    /// It may not, as a sentence.
    pub(crate) fn can_reload(&self, config_file: Option<&str>) -> Result<(), String> {
        let Some(path) = config_file.filter(|path| Path::new(path).is_file()) else { return Ok(()) };
        fs::File::open(path).map(drop).map_err(|error| {
            format!("--config {}: --user {self} can't read it again ({error}): let that user read it", escaped(path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_mistakes_are_sentences() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nlogger:x:990:991::/:/bin/false\nbroken:x::1::/:\nhigh:x:4294967295:1::/:\n";
        let find = |name: &str| Account::find_in(name, users);
        assert_eq!(find("logger"), Ok(Account { name: "logger".to_owned(), uid: 990, gid: 991 }));
        for (name, said) in [
            ("loger", "there is no such user in /etc/passwd: did you mean logger?"),
            ("zzzz", "there is no such user in /etc/passwd: name one of those"),
            ("root", "this is root, who gives up nothing so: name another user, or leave it out"),
            ("", "there is no such user in /etc/passwd: name one of those"),
            ("broken", "its line in /etc/passwd has no numbers: mend it"),
            ("high", "its line in /etc/passwd has no numbers: mend it"),
        ] {
            assert_eq!(find(name), Err(said.to_owned()), "{name}");
        }
    }
}
