//! Which tree each page was found to be of. Eight bytes a page: a five-hundredth of the file at the
//! most usual size.

use crate::sqlite::pages::{Database, Freelist};

/// A number of a tree, from 1.
pub(super) type Tree = u32;

/// On the freelist.
const FREE: u32 = u32::MAX;
/// Of the schema.
const SCHEMA: u32 = u32::MAX - 1;
/// A tree leads to it, but it does not look like that tree's.
const DISPUTED: u32 = u32::MAX - 2;

/// What is known of the pages.
pub(super) struct Claims {
    owners: Vec<u32>,
    /// The tree that looked at a page last.
    visited: Vec<Tree>,
    /// How many looks at pages of others are left: a damaged file may lead every tree into every
    /// other.
    looks: u64,
}

impl Claims {
    pub(super) fn new(database: &Database<'_>, free: &Freelist, schema: &[u32]) -> Self {
        let pages = database.count as usize + 1;
        let mut this =
            Self { owners: vec![0; pages], visited: vec![0; pages], looks: 4 * pages as u64 + 10_000 };
        for page in &free.pages {
            this.set(*page, FREE);
        }
        for page in schema {
            this.set(*page, SCHEMA);
        }
        this
    }

    fn of(&self, page: u32) -> u32 {
        self.owners.get(page as usize).copied().unwrap_or(SCHEMA)
    }

    fn set(&mut self, page: u32, claim: u32) {
        if let Some(known) = self.owners.get_mut(page as usize) {
            *known = claim;
        }
    }

    /// Whether a tree may look at a page: not twice, so that no walk runs in a circle, and not
    /// without end.
    pub(super) fn enter(&mut self, page: u32, tree: Tree) -> bool {
        let Some(last) = self.visited.get_mut(page as usize).filter(|last| **last != tree) else {
            return false;
        };
        if *last != 0 {
            if self.looks == 0 {
                return false;
            }
            self.looks -= 1;
        }
        *last = tree;
        page != 0
    }

    /// Gives a page to a tree, if it is no other's.
    pub(super) fn claim(&mut self, page: u32, tree: Tree) -> bool {
        let known = self.of(page);
        let is_open = matches!(known, 0 | FREE | DISPUTED) || known == tree;
        if is_open {
            self.set(page, tree);
        }
        is_open
    }

    /// Notes that a tree leads to a page that does not look like its own; whether nothing else is
    /// known of it yet.
    pub(super) fn dispute(&mut self, page: u32) -> bool {
        let is_unknown = matches!(self.of(page), 0 | FREE);
        if is_unknown {
            self.set(page, DISPUTED);
        }
        is_unknown
    }

    /// Whether a page is disputed still.
    pub(super) fn is_disputed(&self, page: u32) -> bool {
        self.of(page) == DISPUTED
    }

    /// Whether nothing is known of a page.
    pub(super) fn is_unknown(&self, page: u32) -> bool {
        self.of(page) == 0
    }

    /// Whether a page is on the freelist, and no tree leads to it.
    pub(super) fn is_free(&self, page: u32) -> bool {
        self.of(page) == FREE
    }
}
