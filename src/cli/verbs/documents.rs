//! `litekeeper documents`: the man pages and the completions of shells, for packages. Made from the
//! tree that parses the command line, and so never at odds with it. Must never say anything that
//! `--help` does not.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

use crate::cli::exit;
use crate::error::{Error, Result};

/// Write the man pages (DIR/man1) and the completions for bash, zsh and fish (DIR/completions).
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   ok
  1   failed
  2   usage")]
pub(in crate::cli) struct Documents {
    /// Where to; it is made where it does not exist, and files of the same name are replaced.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Documents {
    pub(in crate::cli) fn run(&self, whole: &Command) -> Result<u8> {
        let (pages, completions) = (self.dir.join("man1"), self.dir.join("completions"));
        for dir in [&pages, &completions] {
            fs::create_dir_all(dir).map_err(|error| cannot(dir, &error))?;
        }
        let mut root = shown(whole);
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut root, "litekeeper", &completions)
                .map_err(|error| cannot(&completions, &error))?;
        }
        // Names the pages of the verbs `litekeeper-VERB`.
        root.build();
        for verb in std::iter::once(&root).chain(root.get_subcommands()) {
            write_page(verb, &pages).map_err(|error| cannot(&pages, &error))?;
        }
        Ok(exit::OK)
    }
}

/// The command line without what is hidden in `--help`: completions would offer that.
fn shown(all: &Command) -> Command {
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect::<Vec<_>>();
    Command::new("litekeeper")
        .version(env!("CARGO_PKG_VERSION"))
        .about(all.get_about().cloned().unwrap_or_default())
        .after_help(all.get_after_help().cloned().unwrap_or_default())
        .args(all.get_arguments().cloned().collect::<Vec<_>>())
        .subcommands(verbs)
        .disable_help_subcommand(true)
}

fn write_page(verb: &Command, dir: &Path) -> std::io::Result<()> {
    let page = Man::new(verb.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    // Exit codes and forms of JSON stay in their lines.
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH NOTES\n.nf\n");
    fs::write(dir.join(page.get_filename()), text)
}

fn cannot(dir: &Path, cause: &std::io::Error) -> Error {
    Error::io(format!("cannot write the documents to {}", dir.display()), cause)
}
