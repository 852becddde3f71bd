//! Certificates of our own: they are read again with every renewal, and who is about to end is said. Invariant: of a file that can't
//! be used, the old one stays.

use std::time::Duration;

use log::{info, warn};

use super::Server;
use super::sessions::{Door, Secured};
use crate::config::calendar::civil;
#[cfg(feature = "cli")]
use crate::config::listen::Listen;
use crate::net::Net;
use crate::sink::Sink;

/// Our certificates are looked at so often.
const DAY: Duration = Duration::from_secs(24 * 3600);
const DAY_SECONDS: i64 = 24 * 3600;
/// From so many days before its end on, a certificate is warned of.
const WARNED_DAYS: i64 = 14;
/// When this was written, in seconds since 1970 (2026-11-27): a clock that shows less is wrong.
const WRITTEN: i64 = 1_795_737_600;

impl Secured {
    /// Which of our certificates are about to end, or have.
    #[cfg(feature = "status")]
    pub(super) fn troubles(&self, wall_ms: u64, up_ms: u64) -> impl Iterator<Item = crate::status::history::Trouble> {
        let now = i64::try_from(wall_ms / 1000).unwrap_or(i64::MAX);
        self.doors.iter().flatten().filter_map(move |door| {
            let left = door.not_after - now;
            let text = format!("the certificate of {} {}", door.at, end_of(left)?);
            // As long as it is known here.
            let since = u64::try_from((WARNED_DAYS + 1) * DAY_SECONDS - left).unwrap_or_default();
            Some(crate::status::history::Trouble { text, for_ms: since.saturating_mul(1000).min(up_ms) })
        })
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Says once a day which of our certificates are about to end.
    #[inline]
    pub(super) fn look_at_certificates(&mut self) {
        if self.secured.is_any() && self.clock.now() >= self.secured.next_look {
            self.secured.next_look = self.clock.now() + DAY;
            let now = i64::try_from(self.clock.wall_ms() / 1000).unwrap_or(i64::MAX);
            warn_of_ends(&mut self.secured, now);
        }
    }

    /// Reads the files again: new connections get what they hold now. Of one that can't be used, the old stays.
    pub(super) fn renew_certificates(&mut self) {
        for number in 0..self.secured.doors.len() {
            let Some(listen) =
                self.listeners.listen(number).filter(|_| self.secured.doors.get(number).is_some_and(Option::is_some))
            else {
                continue;
            };
            match Door::open(&listen) {
                Ok((door, warning)) => {
                    if let Some(warning) = warning {
                        warn!("[tls] {warning}");
                    }
                    let Some(place) = self.secured.doors.get_mut(number) else { continue };
                    if place.as_ref().is_none_or(|before| before.leaf != door.leaf) {
                        info!("[tls] {} has a new certificate, valid until {}", door.at, date_of(door.not_after));
                    }
                    if place.as_ref().is_none_or(|before| before.trusted != door.trusted) {
                        info!("[tls] {} lets in clients by what client-ca holds now", door.at);
                    }
                    *place = Some(door);
                }
                Err(sentence) => warn!(
                    "[tls] {sentence}; {} goes on with what it has read before: certificate, key and client-ca",
                    listen.at
                ),
            }
        }
        self.secured.next_look = Duration::ZERO;
    }
}

/// What a start would say of the files that these listeners name: what it would end with, and what it would warn of. `now` in
/// seconds since 1970.
#[cfg(feature = "cli")]
pub(crate) fn foresee_certificates(listen: &[Listen], now: i64) -> (Vec<String>, Vec<String>) {
    let (mut misfits, mut remarks) = (Vec::new(), Vec::new());
    for one in listen.iter().filter(|one| one.options.is_secured()) {
        match Door::open(one) {
            Err(why) => misfits.push(format!("cannot listen on {} with TLS: {why}", one.at)),
            Ok((door, warning)) => {
                let early =
                    (now < door.not_before).then(|| format!("is not valid before {}", date_of(door.not_before)));
                let ends = early.or_else(|| end_of(door.not_after - now));
                let ends = ends.unwrap_or_else(|| format!("is valid until {}", date_of(door.not_after)));
                remarks.push(format!("the certificate of {} {ends}", door.at));
                remarks.extend(warning);
            }
        }
    }
    (misfits, remarks)
}

/// Says which certificates are about to end, or have; `now` in seconds since 1970.
#[cold]
fn warn_of_ends(secured: &mut Secured, now: i64) {
    if now < WRITTEN {
        return warn!(
            "[tls] The clock of this box shows a time before this program was made: no certificate can be judged by it, and clients' may be refused; set it"
        );
    }
    for door in secured.doors.iter_mut().flatten() {
        if now < door.not_before {
            let from = date_of(door.not_before);
            warn!("[tls] The certificate of {} is not valid before {from}: clients that check it refuse it", door.at);
        }
        if let Some(sentence) = end_of(door.not_after - now) {
            warn!("[tls] The certificate of {} {sentence}; renew it, and send SIGHUP", door.at);
        }
    }
}

/// The day of a second since 1970, in UTC.
fn date_of(second: i64) -> String {
    let (year, month, day) = civil(u64::try_from(second / DAY_SECONDS).unwrap_or_default());
    format!("{year:04}-{month:02}-{day:02}")
}

/// What is to be said of a certificate that ends in so many seconds.
fn end_of(seconds: i64) -> Option<String> {
    let days = seconds.div_euclid(DAY_SECONDS);
    match days {
        _ if seconds < 0 => Some("has expired: clients that check it refuse it".to_owned()),
        0 => Some("ends in less than a day".to_owned()),
        1 => Some("ends in 1 day".to_owned()),
        2..=WARNED_DAYS => Some(format!("ends in {days} days")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p33_the_end_of_a_certificate_is_said_from_14_days_on() {
        for (seconds, words) in [
            (-1, Some("has expired: clients that check it refuse it")),
            (0, Some("ends in less than a day")),
            (DAY_SECONDS, Some("ends in 1 day")),
            (2 * DAY_SECONDS - 1, Some("ends in 1 day")),
            (14 * DAY_SECONDS, Some("ends in 14 days")),
            (15 * DAY_SECONDS, None),
        ] {
            assert_eq!(end_of(seconds).as_deref(), words, "{seconds}");
        }
    }
}
