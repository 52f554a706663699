//! A file that the last check of its pages found damaged: what must not be written to it. Where two tables use one page,
//! or rows lie in pages that nothing leads to, a rewrite or a delete destroys what could still be saved.

use super::Context;
use crate::error::{Error, Reason, Result};
use crate::sqlite::access;
use crate::state::facts::{self, DAMAGED_FILE};

/// Remembers whether the pages of the file that is there now are damaged.
pub async fn remember(context: &Context, is_damaged: bool) -> Result<()> {
    let (name, path) = (context.database.name.clone(), context.database.path.clone());
    let file = access::identity(&path).filter(|_| is_damaged);
    context.state.with(move |c| facts::remember(c, &name, DAMAGED_FILE, &file)).await
}

/// An error where they are, of which `not_done` is the beginning. Another file, one that was restored, is not the
/// damaged one.
pub async fn refuse(context: &Context, not_done: &str) -> Result<()> {
    let name = context.database.name.clone();
    let known = context.state.with(move |c| facts::recall(c, &name, DAMAGED_FILE)).await?;
    let Some((Some(file), at)) = known else { return Ok(()) };
    if access::identity(&context.database.path) != Some(file) {
        return Ok(());
    }
    let name = &context.database.name;
    Err(Error::new(
        Reason::Damaged,
        format!(
            "{not_done}: the check of {} found the file damaged, and more could be lost; restore a backup (litekeeper \
             restore {name}), or save what can be read of it (litekeeper recover {name} --to PATH). Where it is sound by now, \
             litekeeper health {name} --deep finds that",
            at.format("%Y-%m-%d %H:%M UTC")
        ),
    ))
}
