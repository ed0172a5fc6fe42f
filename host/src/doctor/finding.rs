//! One thing that was looked at, and what came of it.

use std::error::Error;

use serde::Serialize;

use crate::telemetry;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works now and may not tomorrow, or not for everybody.
    Warn,
    /// It does not work.
    Fail,
    /// It was not tested; the finding says why.
    Skip,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word: a name that stays.
    pub check: &'static str,
    /// Which of them, such as a model's name; may be empty.
    pub about: String,
    pub level: Level,
    /// One sentence.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, about: &str, what: impl Into<String>) -> Self {
        Self::new(check, about, Level::Ok, what.into(), None)
    }

    pub fn skip(check: &'static str, about: &str, what: impl Into<String>) -> Self {
        Self::new(check, about, Level::Skip, what.into(), None)
    }

    pub fn warn(
        check: &'static str,
        about: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(check, about, Level::Warn, what.into(), Some(remedy.into()))
    }

    pub fn fail(
        check: &'static str,
        about: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(check, about, Level::Fail, what.into(), Some(remedy.into()))
    }

    /// An error of this host, whose text ends with what to do behind a semicolon or a colon.
    pub fn of_error(check: &'static str, about: &str, text: &str, otherwise: &str) -> Self {
        let (what, remedy) = text.rsplit_once("; ").unwrap_or((text, otherwise));
        Self::fail(check, about, what, remedy)
    }

    /// The same with its causes, which belong to what is wrong and not to what to do.
    pub fn of_chain(check: &'static str, about: &str, error: &dyn Error, otherwise: &str) -> Self {
        let text = error.to_string();
        let (what, remedy) = text.rsplit_once("; ").unwrap_or((&text, otherwise));
        let causes = error.source().map(telemetry::chain);
        let causes = causes.map_or(String::new(), |causes| format!(" ({causes})"));
        Self::fail(check, about, format!("{what}{causes}"), remedy)
    }

    fn new(check: &'static str, about: &str, level: Level, what: String, remedy: Option<String>) -> Self {
        Finding { check, about: about.to_owned(), level, what, remedy }
    }
}
