//! The names that have a file, open or not: so many may have one of their own. Invariant: they are in order, and none is
//! there twice.

use super::rotation::Known;

/// What is known of a name.
pub(super) struct Noted {
    pub(super) name: String,
    /// How old its file is, if that was closed.
    pub(super) known: Known,
    /// Whether its rotated files were brought into order.
    pub(super) is_settled: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Names(Vec<Noted>);

impl Names {
    #[inline(never)] // one copy, for size
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|noted| (*noted.name).cmp(name))
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Noted> {
        let at = self.place_of(name).ok()?;
        self.0.get_mut(at)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Noted> {
        self.0.get(self.place_of(name).ok()?)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Noted> {
        self.0.iter_mut()
    }

    /// Whether a name has a file of its own; one that is new gets one if fewer than `most` have.
    pub(super) fn admit(&mut self, name: &str, most: usize) -> bool {
        match self.place_of(name) {
            Ok(_) => true,
            Err(at) if self.0.len() < most => {
                self.0.insert(at, Noted { name: name.to_owned(), known: Known::default(), is_settled: true });
                true
            }
            Err(_) => false,
        }
    }

    /// A file of this name was there before the start; whatever is there counts.
    pub(super) fn find(&mut self, name: String, is_settled: bool) {
        if let Err(at) = self.place_of(&name) {
            self.0.insert(at, Noted { name, known: Known::default(), is_settled });
        }
    }

    /// Whether a name would get a file of its own.
    pub(super) fn would_admit(&self, name: &str, most: usize) -> bool {
        self.0.len() < most || self.place_of(name).is_ok()
    }
}
