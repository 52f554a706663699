//! `litekeeper check`.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit;
use crate::cli::global::Global;
use crate::cli::terminal::out;
use crate::cli::terminal::page::Page;
use crate::cli::terminal::table::TextTable;
use crate::config::{Config, Rejection, refusal};
use crate::error::Result;
use crate::queries::foreign;
use crate::survey::environment::{self, Look, LookResult};
use crate::survey::{needs, running};
use crate::words;

/// Check the configuration, by the same code as a reload.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   the environment has a problem
  2   usage
  78  the configuration has a problem, or with --reload needs a restart

With --json:
  {config, valid, databases: [NAME], warnings: [TEXT],
   problems: [{line, column, message, help}],
   environment: null or [{about, result, text}]}
`result` is ok, warning or problem.")]
pub(in crate::cli) struct Check {
    /// Also look at the machine: paths, owners, free space, the address. Run it as the user that
    /// the daemon runs as.
    #[arg(long)]
    environment: bool,
    /// Also ask the running daemon whether a reload would take this over: what needs a restart is a
    /// problem then, and not a warning.
    #[arg(long)]
    reload: bool,
}

impl Check {
    pub(in crate::cli) fn run(&self, global: &Global) -> Result<u8> {
        let mut config = match Config::load(&global.config) {
            Ok(config) => config,
            Err(rejected) if global.json => {
                out::show(&rejected.to_string());
                out::json(&self::rejected(&global.config, &rejected))?;
                return Ok(exit::CONFIG);
            }
            Err(rejected) => return Err(rejected.into()),
        };
        config.warnings.extend(foreign::warnings(&config)?);
        let running = running::find(&config, &global.config);
        config.warnings.extend(needs::too_few_descriptors(&config, running.as_ref()));
        let restart =
            running.map(|daemon| daemon.needs_restart(&config.daemon)).filter(|keys| !keys.is_empty());
        if let Some(keys) = restart {
            let refusal = refusal(&global.config, &keys);
            if self.reload {
                return Err(refusal);
            }
            config.warnings.push(format!("a reload will be refused: {}", refusal.message));
        }
        let looks = self.environment.then(|| environment::look(&config, &global.config));
        if global.json {
            out::json(&json!({
                "config": global.config,
                "valid": true,
                "databases": config.databases.keys().collect::<Vec<_>>(),
                "warnings": config.warnings,
                "problems": [],
                "environment": looks,
            }))?;
        } else {
            let mut page = out::page();
            render(&mut page, &global.config, &config, looks.as_deref().unwrap_or_default());
            out::text(page.text())?;
        }
        let has_problem = looks.iter().flatten().any(|look| look.result == LookResult::Problem);
        Ok(if has_problem { exit::FAILED } else { exit::OK })
    }
}

fn rejected(path: &Path, rejected: &Rejection) -> Value {
    let problems: Vec<_> = rejected
        .problems
        .iter()
        .map(|problem| {
            let place = problem.place.as_ref();
            json!({
                "line": place.map(|place| place.line),
                "column": place.map(|place| place.column),
                "message": problem.message,
                "help": problem.help,
            })
        })
        .collect();
    json!({
        "config": path,
        "valid": false,
        "databases": [],
        "warnings": [],
        "problems": problems,
        "environment": null,
    })
}

fn render(page: &mut Page, path: &Path, config: &Config, looks: &[Look]) {
    let databases = words::plural(config.databases.len() as u64, "database", "databases");
    page.line(format!("{}: valid, {databases}", path.display()));
    for warning in &config.warnings {
        page.beside("warning: ", warning);
    }
    if !looks.is_empty() {
        let mut table = TextTable::new(["RESULT", "ABOUT", "FOUND"]);
        for look in looks {
            table.row([look.result.as_str(), &look.about, &look.text]);
        }
        page.table(0, &table);
    }
}
