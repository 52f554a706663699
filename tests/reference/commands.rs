//! The command line, and what it prints with `--json`, from the tree that parses it.

use std::fmt::Write as _;

use clap::{Arg, Command};
use litekeeper::cli;

use crate::{code, holds, table};

/// Everything that follows the options in a command's help: its exit codes, notes, and the form of
/// its JSON.
fn after(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

/// The form of its JSON, without what stands before it.
fn json(command: &Command) -> Option<String> {
    let after = after(command);
    let at = after.find("With --json")?;
    Some(after[at..].to_owned())
}

/// The commands that are shown.
fn verbs() -> Vec<Command> {
    let mut root = cli::command();
    root.build();
    root.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help").cloned().collect()
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    let about = about.unwrap_or_else(|| panic!("{} says nothing of itself", command.get_name())).to_string();
    if about.ends_with('.') { about } else { about + "." }
}

/// `--to <PATH>`, `[DB]`.
fn written(arg: &Arg) -> String {
    let values: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let values = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
    match arg.get_long() {
        Some(long) => format!("--{long} {values}").trim_end().to_owned(),
        None if arg.is_required_set() => values,
        None => values.replace('<', "[").replace('>', "]"),
    }
}

fn arguments(command: &Command, is_global: bool) -> Vec<Vec<String>> {
    let shown = |arg: &&Arg| {
        arg.is_global_set() == is_global
            && !arg.is_hide_set()
            && !["help", "version"].contains(&arg.get_id().as_str())
    };
    command
        .get_arguments()
        .filter(shown)
        .map(|arg| {
            let help = arg.get_long_help().or(arg.get_help());
            let mut help = help.map(ToString::to_string).unwrap_or_default().replace('\n', " ");
            let defaults: Vec<&str> =
                arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
            if arg.get_action().takes_values() && !defaults.is_empty() {
                write!(help, " (default: {})", code(&defaults)).unwrap();
            }
            if let Some(variable) = arg.get_env().and_then(|variable| variable.to_str()) {
                write!(help, " (or the environment's {})", code(&[variable])).unwrap();
            }
            vec![code(&[&written(arg)]), help]
        })
        .collect()
}

#[test]
fn the_page_of_the_command_line_has_every_command_and_option() {
    let mut root = cli::command();
    root.build();
    let list = table(
        &["command", "what it does"],
        verbs().iter().map(|verb| {
            let name = verb.get_name();
            let about = verb.get_about().unwrap().to_string();
            vec![format!("[`{name}`](#litekeeper-{name})"), about.trim_end_matches('.').to_owned()]
        }),
    );
    let global = table(&["option", "what it does"], arguments(&root, true));
    let mut commands = String::new();
    for mut verb in verbs() {
        let usage = verb.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").replace(" [OPTIONS]", "");
        write!(commands, "## litekeeper {}\n\n{}\n\n", verb.get_name(), about(&verb)).unwrap();
        let own = arguments(&verb, false);
        let has_options = own.iter().any(|row| row[0].starts_with("`--"));
        let options = if has_options { " [OPTIONS]" } else { "" };
        write!(commands, "```text\n{}{options}\n```\n\n", usage.trim()).unwrap();
        if !own.is_empty() {
            writeln!(commands, "{}", table(&["argument", "what it does"], own)).unwrap();
        }
        let after = after(&verb);
        let after = after.split("With --json").next().unwrap().trim();
        write!(commands, "```text\n{after}\n```\n\n").unwrap();
    }
    holds("command-line.md", &[("list", list), ("global", global), ("commands", commands)]);
}

/// The exit codes of each command in its own words.
pub(crate) fn exit_codes() -> String {
    let rows = verbs().into_iter().flat_map(|verb| {
        let after = after(&verb);
        let codes = after.split("Exit codes:\n").nth(1).unwrap_or_default();
        let codes = codes.split("\n\n").next().unwrap_or_default();
        // A meaning of two lines goes on in the column of the first.
        let codes = codes.replace("\n      ", " ");
        let rows: Vec<Vec<String>> = codes
            .lines()
            .filter_map(|line| line.trim().split_once(' '))
            .map(|(number, meaning)| {
                vec![code(&[verb.get_name()]), code(&[number]), meaning.trim().to_owned()]
            })
            .collect();
        assert!(rows.len() > 2, "the exit codes of {} are not found", verb.get_name());
        rows
    });
    table(&["command", "code", "meaning"], rows)
}

#[test]
fn the_page_of_json_has_the_form_of_every_command_and_all_of_the_status() {
    let forms: Vec<String> = verbs()
        .iter()
        .filter_map(|verb| Some((verb.get_name().to_owned(), json(verb)?)))
        .map(|(name, form)| format!("### {name}\n\n```text\n{form}\n```\n\n"))
        .collect();
    holds("json.md", &[("forms", forms.concat()), ("status", crate::status::status())]);
}
