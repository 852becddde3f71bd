//! Which server is tried next, and when: those that were given, and those that they tell of. Invariant: there is always one, and what
//! servers tell never replaces what was given.

use core::net::IpAddr;
use core::time::Duration;

use super::url::{Address, address};

/// After a failure; doubled with each, up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// See [`FIRST_PAUSE`].
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The servers of an output.
#[derive(Debug, Clone)]
pub struct Servers {
    given: Vec<Address>,
    learnt: Vec<Address>,
    current: usize,
    failures: u32,
}

impl Servers {
    /// With those of a URL.
    #[must_use]
    pub fn new(given: &[Address]) -> Self {
        Self { given: given.to_vec(), learnt: Vec::new(), current: 0, failures: 0 }
    }

    /// Takes what a server told ([`super::session::Event::Servers`]), in place of what was told before.
    pub fn learn(&mut self, told: &[String]) {
        let current = self.current().cloned();
        let addresses = told.iter().filter_map(|text| address(text).ok());
        self.learnt = addresses.filter(|address| !self.given.contains(address)).collect();
        let is_current = |address: &Address| Some(address) == current.as_ref();
        self.current = self.given.iter().chain(&self.learnt).position(is_current).unwrap_or(0);
    }

    /// The one to connect to.
    #[must_use]
    pub fn current(&self) -> Option<&Address> {
        self.given.iter().chain(&self.learnt).nth(self.current)
    }

    /// The name that its certificate has to be for: its host. Of one that was told by its address alone, that of the first that was
    /// given, as other clients have it: clusters tell so.
    #[must_use]
    pub fn certified(&self) -> Option<&str> {
        let host = &self.current()?.host;
        let is_told_by_address = self.current >= self.given.len() && host.parse::<IpAddr>().is_ok();
        self.given.first().filter(|_| is_told_by_address).map_or(Some(host), |first| Some(&first.host))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.given.len() + self.learnt.len()
    }

    /// The next one's turn.
    pub fn advance(&mut self) {
        self.current = (self.current + 1) % self.count().max(1);
    }

    /// A connection led to something: pauses begin anew.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A connection could not be made, or has ended: how long to wait before the next. `random` keeps boxes from coming all at once.
    pub fn failed(&mut self, random: u32) -> Duration {
        let pause = (FIRST_PAUSE * 2_u32.pow(self.failures.min(8))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        // Between half of it and all.
        pause / 2 + pause / 2 * (random >> 16) / 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        let given = ["a:1", "b:2"].map(|text| address(text).unwrap());
        Servers::new(&given)
    }

    #[test]
    fn each_has_its_turn_and_what_is_told_comes_behind_what_was_given() {
        let mut servers = servers();
        servers.advance();
        servers.learn(&["a:1".to_owned(), "[::1]:3".to_owned(), "no address!".to_owned()]);
        let mut names = Vec::new();
        for _ in 0..4 {
            names.push(servers.current().unwrap().to_string());
            servers.advance();
        }
        assert_eq!(names, ["b:2", "[::1]:3", "a:1", "b:2"]);
        assert_eq!(servers.current().unwrap().to_string(), "[::1]:3");
        servers.learn(&["c:4".to_owned(), "[::1]:3".to_owned()]);
        assert_eq!(servers.current().unwrap().to_string(), "[::1]:3", "the one in use stays");
        servers.learn(&[]);
        assert_eq!((servers.current().unwrap().to_string().as_str(), servers.count()), ("a:1", 2));
    }

    #[test]
    fn p34_a_server_that_is_told_by_its_address_is_certified_as_the_first_that_was_given() {
        let mut servers = servers();
        servers.learn(&["10.0.0.7:4222".to_owned(), "[::1]:4222".to_owned(), "c:4222".to_owned()]);
        let mut names = Vec::new();
        for _ in 0..5 {
            names.push(servers.certified().unwrap().to_owned());
            servers.advance();
        }
        assert_eq!(names, ["a", "b", "a", "a", "c"]);
        let given = Servers::new(&[address("10.0.0.7:1").unwrap(), address("b:2").unwrap()]);
        assert_eq!(given.certified(), Some("10.0.0.7"), "what was given by its address is meant so");
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut servers = servers();
        let pauses: Vec<u128> = (0..8).map(|_| servers.failed(u32::MAX).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(servers.failed(0).as_millis(), 2500);
        servers.succeeded();
        assert_eq!(servers.failed(0).as_millis(), 50);
    }
}
