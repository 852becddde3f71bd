//! How the value of an option is read from text and shown as text. Invariant: what is shown is read to the same value.

use core::fmt;
use core::str::FromStr;
use std::time::Duration;

use log::LevelFilter;

use crate::config::network::{NetworkError, Networks};
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
/// What `--tag` takes; empty is no tag.
pub(super) struct Tag;
/// A whole number, or `half`.
pub(super) struct NumberOrHalf;
/// A level of our own log, in lower case.
pub(super) struct Level;

impl Kind<usize> for Size {
    #[inline(never)] // one copy, for size
    fn set(field: &mut usize, text: &str) -> Result<(), String> {
        *field = parse_size(text).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn show(field: &usize, each: Each<'_>) {
        each(&DisplaySize(*field));
    }
}

impl Kind<usize> for Number {
    #[inline(never)] // one copy, for size
    fn set(field: &mut usize, text: &str) -> Result<(), String> {
        *field = text.trim().parse().map_err(|_| "give a whole number".to_owned())?;
        Ok(())
    }

    fn show(field: &usize, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Duration> for Time {
    #[inline(never)] // one copy, for size
    fn set(field: &mut Duration, text: &str) -> Result<(), String> {
        *field = parse_duration(text).map_err(|error| error.to_string())?;
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
        *field = text.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(())
    }

    fn show(field: &T, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Networks> for Nets {
    #[inline(never)] // one copy, for size
    fn set(field: &mut Networks, text: &str) -> Result<(), String> {
        let more: Networks = text.parse().map_err(|error: NetworkError| error.to_string())?;
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
            _ => Some(text.parse().map_err(|error: T::Err| error.to_string())?),
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
        field.push(text.parse().map_err(|error: T::Err| error.to_string())?);
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
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
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
        *field = match (text, text.parse()) {
            (AS_BEFORE, _) => None,
            // The largest number stands for no group.
            (_, Ok(number)) if number < u32::MAX => Some(number),
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
        let wrong = |_| "give a whole number, half, or 0 for no limit".to_owned();
        *field = if text == "half" { None } else { Some(text.trim().parse().map_err(wrong)?) };
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
        each(&field.as_str().to_lowercase());
    }
}
