//! A cron expression, parsed: five fields, six with seconds first, an `@` name, or `never`. Knows the text and
//! which instants of a calendar match; when that is next in a zone is `schedule::calendar`'s.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::fmt;

/// A cron expression. Equal when the texts are.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Option<Cron>,
}

impl Schedule {
    /// Reads an expression. The error says what is wrong with it, without the expression itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let pattern = match text {
            "never" => return Ok(Self { text: text.to_owned(), cron: None }),
            "@hourly" => "0 * * * *",
            "@daily" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" => "0 0 1 1 *",
            other => other,
        };
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(pattern).map_err(|e| e.to_string())?;
        Ok(Self { text: text.to_owned(), cron: Some(cron) })
    }

    /// The parsed expression; `None` is `never`.
    pub const fn cron(&self) -> Option<&Cron> {
        self.cron.as_ref()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
