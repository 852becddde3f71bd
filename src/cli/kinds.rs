//! How the value of an option is read from text and shown as text. Invariant: what is shown is read to the same value.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

#[cfg(feature = "sandbox")]
use super::user::Account;
use crate::config::network::{NetworkError, Networks};
use crate::config::text::{as_text, whole, whole_of};
use crate::config::units::{DisplayDuration, DisplaySize, parse_duration, parse_size};
use crate::host::group_number;
use crate::sink::parse_tag;

/// Is given each value that an option has.
pub(super) type Each<'e> = &'e mut dyn FnMut(&dyn fmt::Display);

/// How a field of the settings is read from text and shown as text.
pub(super) trait Kind<T> {
    fn set(field: &mut T, text: &str) -> Result<(), String>;
    fn show(field: &T, each: Each<'_>);
    fn clear(_: &mut T) {}
}

/// Bytes: `64KiB`.
pub(super) struct Size;
/// A whole number.
pub(super) struct Number;
/// A duration: `30s`.
pub(super) struct Time;
/// `on` or `off`.
pub(super) struct Switch;
/// What the field's own type reads and prints.
pub(super) struct Word;
/// The same, or `off`.
pub(super) struct WordOrOff;
/// The same, given any number of times.
pub(super) struct List;
/// Networks with commas between, given any number of times.
pub(super) struct Nets;
/// Permission bits of a file: `0660`.
pub(super) struct Octal;
/// The same, or [`AS_BEFORE`].
pub(super) struct OctalOrBefore;
/// A group by its name or number, or [`AS_BEFORE`].
pub(super) struct GroupOrBefore;
/// A user by its name, or `off`.
#[cfg(feature = "sandbox")]
pub(super) struct UserOrOff;
/// What `--tag` takes; empty is no tag.
pub(super) struct Tag;
/// A whole number, or `half`.
pub(super) struct NumberOrHalf;
/// A level of our own log, in lower case.
pub(super) struct Level;

/// Any text; empty is none.
pub(super) struct Text;
/// The path of a file, or `off`.
pub(super) struct PathOrOff;
/// Where something is posted to, or `off`. Shown without its password.
#[cfg(feature = "alert")]
pub(super) struct UrlOrOff;

#[cfg(feature = "alert")]
impl Kind<Option<String>> for UrlOrOff {
    fn set(field: &mut Option<String>, text: &str) -> Result<(), String> {
        *field = (text != "off").then(|| text.to_owned());
        Ok(())
    }

    fn show(field: &Option<String>, each: Each<'_>) {
        match field.as_deref().map(|text| (text, crate::http::Url::parse(text))) {
            Some((_, Ok(url))) if url.has_secret() => each(&url),
            Some((text, _)) => each(&text),
            None => each(&"off"),
        }
    }
}

#[cfg(feature = "sandbox")]
impl Kind<Option<Account>> for UserOrOff {
    fn set(field: &mut Option<Account>, text: &str) -> Result<(), String> {
        *field = if text == "off" { None } else { Some(Account::find(text)?) };
        Ok(())
    }

    fn show(field: &Option<Account>, each: Each<'_>) {
        match field {
            Some(account) => each(account),
            None => each(&"off"),
        }
    }
}

impl Kind<String> for Text {
    fn set(field: &mut String, text: &str) -> Result<(), String> {
        text.clone_into(field);
        Ok(())
    }

    fn show(field: &String, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Option<PathBuf>> for PathOrOff {
    fn set(field: &mut Option<PathBuf>, text: &str) -> Result<(), String> {
        *field = (text != "off").then(|| text.into());
        Ok(())
    }

    fn show(field: &Option<PathBuf>, each: Each<'_>) {
        match field {
            Some(path) => each(&path.display()),
            None => each(&"off"),
        }
    }
}

impl Kind<usize> for Size {
    #[inline(never)] // one copy, for size
    fn set(field: &mut usize, text: &str) -> Result<(), String> {
        *field = parse_size(text).map_err(|error| as_text(&error))?;
        Ok(())
    }

    fn show(field: &usize, each: Each<'_>) {
        each(&DisplaySize(*field));
    }
}

fn number(text: &str) -> Option<usize> {
    usize::try_from(whole(text.trim())?).ok()
}

impl Kind<usize> for Number {
    #[inline(never)] // one copy, for size
    fn set(field: &mut usize, text: &str) -> Result<(), String> {
        *field = number(text).ok_or("give a whole number")?;
        Ok(())
    }

    fn show(field: &usize, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Duration> for Time {
    #[inline(never)] // one copy, for size
    fn set(field: &mut Duration, text: &str) -> Result<(), String> {
        *field = parse_duration(text).map_err(|error| as_text(&error))?;
        Ok(())
    }

    fn show(field: &Duration, each: Each<'_>) {
        each(&DisplayDuration(*field));
    }
}

impl Kind<bool> for Switch {
    #[inline(never)] // one copy, for size
    fn set(field: &mut bool, text: &str) -> Result<(), String> {
        *field = match text {
            "true" | "yes" | "on" => true,
            "false" | "no" | "off" => false,
            _ => return Err("use true or false".to_owned()),
        };
        Ok(())
    }

    #[inline(never)] // one copy, for size
    fn show(field: &bool, each: Each<'_>) {
        each(if *field { &"on" } else { &"off" });
    }
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Kind<T> for Word {
    fn set(field: &mut T, text: &str) -> Result<(), String> {
        *field = text.parse().map_err(|error: T::Err| as_text(&error))?;
        Ok(())
    }

    fn show(field: &T, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Networks> for Nets {
    #[inline(never)] // one copy, for size
    fn set(field: &mut Networks, text: &str) -> Result<(), String> {
        let more: Networks = text.parse().map_err(|error: NetworkError| as_text(&error))?;
        field.0.extend(more.0);
        Ok(())
    }

    fn show(field: &Networks, each: Each<'_>) {
        each(field);
    }

    fn clear(field: &mut Networks) {
        field.0.clear();
    }
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Kind<Option<T>> for WordOrOff {
    fn set(field: &mut Option<T>, text: &str) -> Result<(), String> {
        *field = match text {
            "off" => None,
            _ => Some(text.parse().map_err(|error: T::Err| as_text(&error))?),
        };
        Ok(())
    }

    fn show(field: &Option<T>, each: Each<'_>) {
        match field {
            Some(value) => each(value),
            None => each(&"off"),
        }
    }
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Kind<Vec<T>> for List {
    fn set(field: &mut Vec<T>, text: &str) -> Result<(), String> {
        field.push(text.parse().map_err(|error: T::Err| as_text(&error))?);
        Ok(())
    }

    fn show(field: &Vec<T>, each: Each<'_>) {
        field.iter().for_each(|value| each(value));
    }

    fn clear(field: &mut Vec<T>) {
        field.clear();
    }
}

impl Kind<u32> for Octal {
    fn set(field: &mut u32, text: &str) -> Result<(), String> {
        let mode = whole_of(text, 8).and_then(|mode| u32::try_from(mode).ok()).filter(|mode| *mode <= 0o777);
        *field = mode.ok_or("give octal digits from 0 to 0777, such as 0660")?;
        Ok(())
    }

    fn show(field: &u32, each: Each<'_>) {
        each(&format_args!("{field:04o}"));
    }
}

/// What stands for what the file of the same name had before, if there was one.
const AS_BEFORE: &str = "as-before";

impl Kind<Option<u32>> for OctalOrBefore {
    fn set(field: &mut Option<u32>, text: &str) -> Result<(), String> {
        *field = None;
        if text == AS_BEFORE { Ok(()) } else { Octal::set(field.insert(0), text) }
    }

    fn show(field: &Option<u32>, each: Each<'_>) {
        match field {
            Some(mode) => Octal::show(mode, each),
            None => each(&AS_BEFORE),
        }
    }
}

impl Kind<Option<u32>> for GroupOrBefore {
    fn set(field: &mut Option<u32>, text: &str) -> Result<(), String> {
        *field = match (text, whole(text).and_then(|number| u32::try_from(number).ok())) {
            (AS_BEFORE, _) => None,
            // The largest number stands for no group.
            (_, Some(number)) if number < u32::MAX => Some(number),
            _ => match group_number(text) {
                Ok(Some(number)) => Some(number),
                Ok(None) => {
                    return Err("there is no such group in /etc/group: give one of those, or a number".to_owned());
                }
                Err(error) => return Err(format!("/etc/group can't be read ({error}): give its number")),
            },
        };
        Ok(())
    }

    fn show(field: &Option<u32>, each: Each<'_>) {
        match field {
            Some(number) => each(number),
            None => each(&AS_BEFORE),
        }
    }
}

impl Kind<String> for Tag {
    fn set(field: &mut String, text: &str) -> Result<(), String> {
        *field = if text.is_empty() { String::new() } else { parse_tag(text)? };
        Ok(())
    }

    fn show(field: &String, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Option<usize>> for NumberOrHalf {
    fn set(field: &mut Option<usize>, text: &str) -> Result<(), String> {
        let wrong = "give a whole number, half, or 0 for no limit";
        *field = if text == "half" { None } else { Some(number(text).ok_or(wrong)?) };
        Ok(())
    }

    fn show(field: &Option<usize>, each: Each<'_>) {
        match field {
            Some(limit) => each(limit),
            None => each(&"half"),
        }
    }
}

impl Kind<LevelFilter> for Level {
    fn set(field: &mut LevelFilter, text: &str) -> Result<(), String> {
        let wrong = |_| "use one of off, error, warn, info, debug, trace".to_owned();
        *field = text.parse().map_err(wrong)?;
        Ok(())
    }

    fn show(field: &LevelFilter, each: Each<'_>) {
        each(&field.as_str().to_ascii_lowercase());
    }
}
