//! Settings that take one of a few words: the enum, the words and what is said of any other, from one list.

use core::fmt;

/// A setting that takes one of a few words.
macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every word that the flag takes, the default first.
            pub const WORDS: &[&str] = &[$($word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(WordError { words: Self::WORDS }) }
            }
        }
    };
}
pub(crate) use word_enum;

/// A word that is none of those a setting takes. `Display` is the end of a sentence that begins with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordError {
    /// The words it takes.
    pub words: &'static [&'static str],
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use one of {}", self.words.join(", "))
    }
}

impl core::error::Error for WordError {}
