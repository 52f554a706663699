//! `litekeeper check`.

mod reaches;
mod schedules;

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit;
use crate::cli::global::Global;
use crate::cli::terminal::out;
use crate::cli::terminal::page::Page;
use crate::cli::terminal::table::TextTable;
use crate::cli::terminal::tone::Tone;
use crate::clock;
use crate::config::{Config, Rejection, refusal};
use crate::error::Result;
use crate::queries::foreign;
use crate::schedule::outlook::outlook;
use crate::survey::environment::{Look, LookResult};
use crate::survey::{judgement, needs, running};
use crate::words;

/// Check the configuration, by the same code as a reload, and say when its schedules fire next.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   the environment has a problem
  2   usage
  78  the configuration has a problem, or with --reload needs a restart

With --json:
  {config, valid, databases: [NAME], warnings: [TEXT],
   problems: [{line, column, message, help}], timezone,
   schedules: [{task, schedule, databases: [NAME], jitter_seconds,
                next: [{at, postponed_to}]}],
   backups: [{databases: [NAME], copy: null or NAME, keep: TEXT}],
   environment: null or [{about, result, text}],
   judged_as: null or {user, unit}}
`keep` is what rotation keeps in backup.dir, or in a copy, and how far back that
reaches; `result` is ok, warning or problem; `judged_as` whose rights were looked
with, and within which unit's sandbox (null for none).")]
pub(in crate::cli) struct Check {
    /// Also look at the machine: paths, owners, free space, the address. As root it looks with the
    /// rights of the daemon: where a systemd unit runs it, as the unit's user and within its
    /// sandbox.
    #[arg(long)]
    environment: bool,
    /// Also ask the running daemon whether a reload would take this over: what needs a restart is a
    /// problem then, and not a warning.
    #[arg(long)]
    reload: bool,
    /// This process was started with the rights of that unit, to look with them.
    #[arg(long, hide = true, value_name = "UNIT", requires = "environment")]
    for_unit: Option<String>,
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
        let schedules = outlook(&config, clock::now());
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
        let judgement = self.environment.then(|| match &self.for_unit {
            Some(unit) => judgement::for_unit(&config, &global.config, unit),
            None => judgement::judge(&config, &global.config),
        });
        let looks = judgement.as_ref().map(|judgement| &judgement.looks);
        let reaches = reaches::of(&config);
        if global.json {
            out::json(&json!({
                "config": global.config,
                "valid": true,
                "databases": config.databases.keys().collect::<Vec<_>>(),
                "warnings": config.warnings,
                "problems": [],
                "timezone": config.daemon.timezone.name(),
                "schedules": schedules,
                "backups": reaches,
                "environment": looks,
                "judged_as": judgement.as_ref().map(|j| json!({ "user": j.user, "unit": j.unit })),
            }))?;
        } else {
            let mut page = out::page();
            render(&mut page, &global.config, &config);
            schedules::render(&mut page, &config, &schedules);
            reaches::render(&mut page, &config, &reaches);
            environment(&mut page, looks.map_or(&[], Vec::as_slice));
            out::print(&page)?;
        }
        let has_problem = looks.into_iter().flatten().any(|look| look.result == LookResult::Problem);
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
        "timezone": null,
        "schedules": [],
        "backups": [],
        "environment": null,
        "judged_as": null,
    })
}

fn render(page: &mut Page, path: &Path, config: &Config) {
    let databases = words::plural(config.databases.len() as u64, "database", "databases");
    page.line(format!("{}: valid, {databases}", path.display()));
    for warning in &config.warnings {
        page.beside_in(Tone::Doubtful, "warning: ", warning);
    }
}

/// What was found on the machine.
fn environment(page: &mut Page, looks: &[Look]) {
    if looks.is_empty() {
        return;
    }
    page.line("");
    let mut table = TextTable::new(["RESULT", "ABOUT", "FOUND"]);
    for look in looks {
        table.row([look.result.as_str(), &look.about, &look.text]);
        table.tone(
            0,
            match look.result {
                LookResult::Ok => Tone::Good,
                LookResult::Warning => Tone::Doubtful,
                LookResult::Problem => Tone::Bad,
            },
        );
    }
    page.table(0, &table);
}
