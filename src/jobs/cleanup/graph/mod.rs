//! What a delete reaches beyond its own rows: by foreign keys, and by triggers.

pub(super) mod children;
pub(super) mod known;
pub(super) mod links;
pub(super) mod triggers;
