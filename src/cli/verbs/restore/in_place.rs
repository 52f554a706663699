//! What `litekeeper restore --in-place` says beside what every restore says: its plan, who stands
//! in the way, where the old database is, and how it comes back.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::terminal::out;
use crate::cli::terminal::page::Page;
use crate::commands::quoted;
use crate::error::{Reason, Result};
use crate::pool::Call;
use crate::sqlite::files::holders::Holder;
use crate::sqlite::files::paths::SIDECARS;
use crate::store::restore::in_place::Plan;
use crate::words;

/// What is printed.
#[derive(Serialize)]
pub(super) struct InPlaceOutput {
    plan: Vec<String>,
    refused: Vec<String>,
    holders: Vec<Holder>,
    unseen: Option<String>,
    kept: Vec<PathBuf>,
    back: Vec<String>,
}

impl InPlaceOutput {
    pub(in crate::cli) fn of(plan: &Plan, bytes: Option<u64>) -> Self {
        Self {
            plan: steps(plan, bytes),
            refused: plan.refusals.iter().map(ToString::to_string).collect(),
            holders: plan.seen.holders.clone(),
            unseen: plan.seen.unseen.clone(),
            kept: plan.kept.iter().cloned().collect(),
            back: Vec::new(),
        }
    }

    /// It was done, and `kept` is the old set.
    pub(in crate::cli) fn done(&mut self, path: &Path, kept: Vec<PathBuf>) {
        self.back = back(path, &kept);
        self.kept = kept;
    }

    pub(super) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn render_kept(&self, page: &mut Page) {
        for kept in &self.kept {
            page.beside("  old one   ", &kept.display().to_string());
        }
    }

    pub(in crate::cli) fn render(&self, page: &mut Page, dry_run: bool) {
        for refused in &self.refused {
            page.beside("refused: ", refused);
        }
        let (title, lines) =
            if dry_run { ("plan", &self.plan) } else { ("to put the old one back", &self.back) };
        if !lines.is_empty() {
            page.line(title);
        }
        for line in lines {
            // Not broken, so that commands can be copied.
            page.line(format!("  {line}"));
        }
    }
}

fn steps(plan: &Plan, bytes: Option<u64>) -> Vec<String> {
    let path = plan.path.display();
    let size = bytes.map_or_else(|| String::from("unknown"), words::bytes);
    let directory = plan.path.parent().unwrap_or(Path::new("/")).display();
    let mut steps = Vec::new();
    if let Some(daemon) = &plan.yields {
        steps.push(format!("have litekeeper's daemon (process {daemon}) let go of {path} until it is over"));
    }
    steps.extend([
        format!(
            "unpack {size} beside {path} ({} is free in {directory}), and check it",
            words::bytes(plan.free)
        ),
        format!("give it {}", plan.likeness),
    ]);
    if let Some(kept) = &plan.kept {
        steps.push(format!("lock {path}, and complete it from its -journal and -wal"));
        steps.push(format!("keep it as {}", kept.display()));
    }
    for beside in &plan.beside {
        let size = std::fs::metadata(beside).map_or(0, |file| file.len());
        let file = beside.display();
        steps.push(format!(
            "remove {file} ({}), or keep it beside the old one if it holds data",
            words::bytes(size)
        ));
    }
    steps.push(format!("give the restored one the name {path}"));
    steps
}

/// For a shell. What the application has made beside the restored database goes with that.
fn back(path: &Path, kept: &[PathBuf]) -> Vec<String> {
    let original = |kept: &Path| {
        let name = kept.to_string_lossy();
        let suffix = SIDECARS.into_iter().find(|suffix| name.ends_with(suffix)).unwrap_or_default();
        let mut original = path.as_os_str().to_owned();
        original.push(suffix);
        PathBuf::from(original)
    };
    if kept.is_empty() {
        return Vec::new();
    }
    let name = quoted(path);
    let mut back = vec![
        String::from("# stop the application, then:"),
        format!(
            "for e in -wal -shm -journal ''; do [ ! -e {name}$e ] || mv -n {name}$e {name}.undone$e; done"
        ),
    ];
    // The database itself last: it must not be found without what belongs to it.
    back.extend(kept.iter().rev().map(|kept| format!("mv -n {} {}", quoted(kept), quoted(&original(kept)))));
    back
}

/// Says once that the daemon, or the run that it has at work, is waited for.
pub(super) fn letting_go(call: &Call, database: &str) -> impl FnMut(&str) -> Result<()> {
    let (call, database) = (call.clone(), database.to_owned());
    let mut told = String::new();
    move |holder| {
        call.check()?;
        if told != holder {
            out::say(&format!("waiting until {holder} has let go of {database}"));
            holder.clone_into(&mut told);
        }
        Ok(())
    }
}

/// Says once who keeps us waiting; says what that means when the operator will not wait.
pub(super) fn waiting(call: &Call, plan: &Plan) -> impl Fn(&[Holder]) -> Result<()> {
    let (call, path) = (call.clone(), plan.path.display().to_string());
    let told = RefCell::new(Vec::new());
    move |late: &[Holder]| {
        let who = late.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if call.check().is_err() {
            return Err(crate::error::Error::new(
                Reason::Cancelled,
                format!(
                    "the backup is restored to {path}, but {who} opened the old file just before: end it at once, for \
                     what it writes now is lost or damages the restored database"
                ),
            ));
        }
        if *told.borrow() != late {
            out::say(&format!(
                "the backup is restored to {path}; {who} opened the old file just before and is kept from using it: \
                 waiting until it has closed it"
            ));
            late.clone_into(&mut told.borrow_mut());
        }
        Ok(())
    }
}
