//! What a check found, as the word that labels, remembered facts and JSON use. Must never hold what
//! was found.

/// What a health check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All well.
    Good,
    /// All well, but its operator should know something.
    Warning,
    /// Something is wrong.
    Bad,
    /// It cannot be told: the check itself could not be done.
    Unknown,
}
