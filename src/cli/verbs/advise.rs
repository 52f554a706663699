//! `litekeeper advise`.

use std::sync::Arc;

use chrono::DateTime;
use clap::Args;

use crate::advice::{self, Advice, Hint, Proposal, Served};
use crate::cli::global::{Global, block_on, database};
use crate::cli::terminal::out;
use crate::cli::terminal::page::Page;
use crate::cli::{exit, interrupt, log};
use crate::error::{Error, Reason, Result};
use crate::pool::{self, Call, Pool};
use crate::queries::plans::Plan;
use crate::state::{State, slow};
use crate::words;

/// Say which indexes, or which other words, would make the watched queries and the slow statements
/// of a database cheaper.
///
/// Indexes are tried on an empty copy of the schema in memory, with a sample of the rows to tell
/// what they are worth. Said is only what a query plan shows; an index must make a statement ten
/// times cheaper. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok, whatever was found
  1   failed
  2   usage
  10  no such database
  12  damaged
  78  the configuration is not valid

With --json:
  {judged, proposals: [{sql, index, table, size_bytes, writers, replaces,
                        serves: [{query, shape, before, after, gain}]}],
   hints: [{subject, query, shape, text, rewritten, indexes, before, after, gain}],
   unjudged: [{query, shape, why}]}
`query` is null for a slow statement; `before` and `after` are plans, a list of lines;
`subject` is offset, exists, wildcard, like, function, covering or affinity.")]
pub(in crate::cli) struct Advise {
    /// Name of the database in the configuration.
    #[arg(value_name = "DB")]
    database: String,
    /// How many slow statements, those that took the most time first.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl Advise {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let config = global.load()?;
        let database = database(&config, &self.database)?;
        log::start_quietly(global, config.daemon.log_format);
        let shapes = State::view(&config.daemon.state_dir)?
            .now(|c| slow::worst(c, &database.name, DateTime::UNIX_EPOCH, self.limit))?;
        let advice = block_on(async {
            let call = Call::new("advise", &interrupt::token()?, None);
            // Nobody keeps what we ourselves read slowly.
            let (unheard, _) = pool::slow_statements(1);
            let pool = Pool::new(database, unheard)?;
            let work = {
                let (pool, database, call) = (pool.clone(), Arc::clone(database), call.clone());
                move || advice::advise(&pool, &database, &shapes, &call)
            };
            let advice = tokio::select! {
                advice = call.on_thread(work) => advice,
                () = call.ended() => Err(Error::new(Reason::Cancelled, "stopped")),
            };
            pool.end().await;
            advice
        })?;
        if global.json {
            out::json(&advice)?;
        } else {
            let mut page = out::page();
            render(&mut page, &advice, &database.name);
            out::text(page.text())?;
        }
        Ok(exit::OK)
    }
}

fn render(page: &mut Page, advice: &Advice, database: &str) {
    if advice.judged == 0 && advice.unjudged.is_empty() {
        return page.paragraph(&format!(
            "no query to judge: name the application's queries under [database.{database}.watch.QUERY]"
        ));
    }
    for proposal in &advice.proposals {
        index(page, proposal);
    }
    for hint in &advice.hints {
        text(page, hint);
    }
    for unjudged in &advice.unjudged {
        page.beside(
            "cannot be judged: ",
            &format!("{}: {}", name(unjudged.query.as_deref(), &unjudged.shape), unjudged.why),
        );
    }
    let judged = words::plural(advice.judged as u64, "statement", "statements");
    page.paragraph(&match advice.proposals.len() as u64 {
        0 => format!("{judged} judged: none would be ten times cheaper with another index"),
        n => format!("{judged} judged: {} proposed", words::plural(n, "index", "indexes")),
    });
}

fn index(page: &mut Page, proposal: &Proposal) {
    page.line(format!("{};", proposal.sql));
    page.beside("  size     ", &format!("about {}", words::bytes(proposal.size_bytes)));
    page.beside("  writers  ", &proposal.writers);
    for drop in &proposal.replaces {
        page.line(format!("  replaces {drop}"));
    }
    for served in &proposal.serves {
        serves(page, served);
    }
    page.line("");
}

fn serves(page: &mut Page, served: &Served) {
    let gain =
        format!("{}, about {:.0} times cheaper", name(served.query.as_deref(), &served.shape), served.gain);
    page.beside("  serves   ", &gain);
    plan(page, "now", &served.before);
    plan(page, "then", &served.after);
}

fn text(page: &mut Page, hint: &Hint) {
    let gain = hint.gain.map_or_else(String::new, |gain| format!(", about {gain:.0} times cheaper"));
    page.paragraph(&format!("{}{gain}", name(hint.query.as_deref(), &hint.shape)));
    page.beside("  ", &hint.text);
    if let Some(rewritten) = &hint.rewritten {
        page.beside("  as       ", rewritten);
    }
    for index in &hint.indexes {
        page.beside("  with     ", index);
    }
    plan(page, "now", &hint.before);
    plan(page, "then", &hint.after);
    page.line("");
}

fn plan(page: &mut Page, when: &str, plan: &Plan) {
    for (n, line) in plan.lines.iter().enumerate() {
        page.line(format!("    {:6} {line}", if n == 0 { when } else { "" }));
    }
}

fn name(query: Option<&str>, shape: &str) -> String {
    query.map_or_else(|| format!("slow statement: {shape}"), |name| format!("query {name}"))
}
