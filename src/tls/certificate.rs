//! What a certificate says: whom it names, and when it ends. Its signature and all else is the library's. Invariant: whatever the
//! bytes are, reading ends, and reads nothing behind them.

use crate::config::calendar::day_number;

/// Tags of DER: X.690, 8.1.2, and the choices of RFC 5280, 4.1 and 4.2.1.6.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
/// UTF8String, PrintableString, IA5String, T61String: all of which are read as UTF-8 here.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x16, 0x14];
/// 2.5.4.3, `commonName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17, `subjectAltName`.
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// More names of one certificate are not read.
const MOST_NAMES: usize = 100;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its DNS names; the common name of its subject only if it has no alternative names at all (RFC 6125, 6.4.4).
    pub names: Vec<String>,
    /// From when on it is valid, in seconds since 1970.
    pub not_before: i64,
    /// The last second in which it is.
    pub not_after: i64,
    /// It is of the first version of X.509, which does not say so and is not taken.
    pub is_old: bool,
}

impl Certificate {
    /// Reads one, in DER. `None` if that is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut all = Reader(der);
        let mut signed = Reader(Reader(all.value(SEQUENCE)?).value(SEQUENCE)?);
        // Version, and serial number, algorithm and issuer.
        let has_version = signed.optional(VERSION).is_some();
        for _ in 0..3 {
            signed.next()?;
        }
        let mut validity = Reader(signed.value(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = signed.value(SEQUENCE)?;
        let mut names = Vec::new();
        if !alternative_names(&mut signed, &mut names) {
            names.extend(common_name(subject));
        }
        Some(Self { names, not_before, not_after, is_old: !has_version })
    }
}

/// The names of a subject: the last of its common names is the most specific one.
fn common_name(subject: &[u8]) -> Option<String> {
    let (mut parts, mut found) = (Reader(subject), None);
    while let Some((_, set)) = parts.next().filter(|(tag, _)| *tag == SET) {
        let mut attribute = Reader(Reader(set).value(SEQUENCE)?);
        if attribute.value(OID)? == COMMON_NAME {
            let (tag, text) = attribute.next()?;
            found = TEXTS.contains(&tag).then(|| String::from_utf8_lossy(text).into_owned()).or(found);
        }
    }
    found
}

/// Whether there are alternative names behind the subject; those of DNS are added.
fn alternative_names(rest: &mut Reader<'_>, names: &mut Vec<String>) -> bool {
    let Some(list) = extension(rest, ALTERNATIVE_NAME).and_then(|value| Reader(value).value(SEQUENCE)) else {
        return false;
    };
    let mut list = Reader(list);
    while let Some((tag, name)) = list.next().filter(|_| names.len() < MOST_NAMES) {
        if tag == DNS_NAME {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    true
}

/// The value of one of the extensions, which come behind the subject and its key.
fn extension<'a>(rest: &mut Reader<'a>, wanted: &[u8]) -> Option<&'a [u8]> {
    let extensions = loop {
        if let (EXTENSIONS, value) = rest.next()? {
            break value;
        }
    };
    let mut each = Reader(Reader(extensions).value(SEQUENCE)?);
    loop {
        let mut extension = Reader(each.value(SEQUENCE)?);
        let is_wanted = extension.value(OID)? == wanted;
        let _ = extension.optional(BOOLEAN);
        if is_wanted {
            return extension.value(OCTETS);
        }
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next tag and value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // So many bytes of length: four are more than a certificate has.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, which has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// The same, which may be left out.
    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.0.first().filter(|first| **first == tag)?;
        self.value(tag)
    }

    /// A time, `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5), in seconds since 1970.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let digits = text.strip_suffix(b"Z")?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = digits.split_at_checked(2)?;
                let year = number(year)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = digits.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        let mut parts = [0; 5];
        if rest.len() != 2 * parts.len() {
            return None;
        }
        for (part, digits) in parts.iter_mut().zip(rest.chunks(2)) {
            *part = number(digits)?;
        }
        let [month, day, hour, minute, second] = parts;
        Some(((day_number(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second)
    }
}

/// A number in digits alone.
fn number(digits: &[u8]) -> Option<i64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    digits.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}
