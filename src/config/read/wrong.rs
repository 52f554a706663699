//! What is wrong with a value of the file, and what to do: a sentence with a place in the text.
//! Judges nothing.

use std::ops::Range;

use toml::de::DeValue;

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// What is wrong with a value.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    /// A sentence without its subject, which is the key's name, until [`Mistake::about`] puts it in
    /// front.
    pub(in crate::config) message: String,
    /// What to do.
    pub(in crate::config) help: Option<String>,
    /// Which element of a list is to blame; `None`: all, or the value is none.
    pub(in crate::config) item: Option<usize>,
    /// Which bytes of a text are to blame; `None`: all.
    pub(in crate::config) within: Option<Span>,
}

impl Mistake {
    pub(in crate::config) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, item: None, within: None }
    }

    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with its subject.
    pub(super) fn about(mut self, key: &str) -> Self {
        self.message = format!("`{key}` {}", self.message);
        self
    }

    pub(super) fn expected(what: &str, found: &DeValue<'_>) -> Self {
        Self::new(format!("must be {what}, not {}", describe(found)))
    }
}

/// The value as it can stand in a message.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    const LONG: usize = 60;
    match value {
        DeValue::String(text) if text.chars().count() > LONG => {
            format!("{:?}…", text.chars().take(LONG).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
