//! The one table of what is said of an index: the values of the label `reason` of
//! `litekeeper_index_problems`. Nothing here looks at an index: the check `indexes` and the advice
//! do.

/// What may be said of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexReason {
    /// The word in labels and in JSON.
    pub word: &'static str,
    /// What it means, for the documents.
    pub meaning: &'static str,
    /// Whether it makes the check `indexes` bad. An index more or less is no damage.
    pub is_bad: bool,
}

macro_rules! table {
    ($($id:ident = $word:literal, $is_bad:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $id: IndexReason = IndexReason { word: $word, meaning: $meaning, is_bad: $is_bad };
        )*
        /// All of them.
        pub const ALL: &[IndexReason] = &[$($id),*];
    };
}

table! {
    MISSING = "missing", true,
        "declared under `[[database.NAME.index]]`, and not there";
    DIFFERENT = "different", true,
        "not as declared under `[[database.NAME.index]]`";
    DAMAGED = "damaged", true,
        "does not agree with its table";
    DUPLICATE = "duplicate", false,
        "does what another one does. UNIQUE, WHERE, COLLATE and DESC count, and a declared index is never meant";
    REDUNDANT = "redundant", false,
        "is the beginning of another one, likewise";
    FOREIGN_KEY = "foreign_key", false,
        "a foreign key without an index on the child's side, in a table not known to have fewer than 1000 rows; `index` is the name that it would have";
    UNUSED = "unused", false,
        "used by none of the watched queries and no slow statement: said only where at least 10 have been watched with the same text for 7 days, 3 of them of that table; how many and since when is said with it";
}
