//! Questions to a person at the terminal, and to nobody.

use anyhow::bail;
use dialoguer::theme::ColorfulTheme;
use dialoguer::{Confirm, Input, Password, Select};

/// What an answer must be; what is wrong with one comes back in words.
pub type Fits<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Somebody who may be asked. `flag` is the way to answer without being asked.
pub trait Ask {
    /// A person who answers something else is asked again.
    fn text(
        &self,
        question: &str,
        default: Option<&str>,
        flag: &str,
        fits: Fits<'_>,
    ) -> anyhow::Result<String>;
    /// Not shown while it is typed; empty: left for later.
    fn secret(&self, question: &str) -> anyhow::Result<String>;
    fn yes(&self, question: &str, default: bool) -> anyhow::Result<bool>;
    /// The index of what was chosen; the first is recommended.
    fn choose(&self, question: &str, options: &[String], flag: &str) -> anyhow::Result<usize>;
}

pub struct Terminal;

impl Ask for Terminal {
    fn text(
        &self,
        question: &str,
        default: Option<&str>,
        _flag: &str,
        fits: Fits<'_>,
    ) -> anyhow::Result<String> {
        let theme = ColorfulTheme::default();
        let mut input = Input::<String>::with_theme(&theme).with_prompt(question);
        input = input.validate_with(|text: &String| fits(text.trim()));
        if let Some(default) = default {
            input = input.default(default.to_owned()).allow_empty(default.is_empty());
        }
        Ok(input.interact_text()?.trim().to_owned())
    }

    fn secret(&self, question: &str) -> anyhow::Result<String> {
        let theme = ColorfulTheme::default();
        let typed =
            Password::with_theme(&theme).with_prompt(question).allow_empty_password(true).interact()?;
        Ok(typed.trim().to_owned())
    }

    fn yes(&self, question: &str, default: bool) -> anyhow::Result<bool> {
        Ok(Confirm::with_theme(&ColorfulTheme::default())
            .with_prompt(question)
            .default(default)
            .interact()?)
    }

    fn choose(&self, question: &str, options: &[String], _flag: &str) -> anyhow::Result<usize> {
        let theme = ColorfulTheme::default();
        Ok(Select::with_theme(&theme).with_prompt(question).items(options).default(0).interact()?)
    }
}

/// Without a terminal, or with `--yes`: what is recommended, where something is.
pub struct Nobody {
    pub is_yes: bool,
}

impl Nobody {
    fn refuse<T>(&self, flag: &str) -> anyhow::Result<T> {
        match self.is_yes {
            true => bail!("`{flag}` is needed: there is nothing to recommend for it"),
            false => {
                bail!("there is no terminal to ask on; say `{flag}`, or `--yes` for what is recommended")
            }
        }
    }
}

impl Ask for Nobody {
    fn text(
        &self,
        _question: &str,
        default: Option<&str>,
        flag: &str,
        _fits: Fits<'_>,
    ) -> anyhow::Result<String> {
        default.map(str::to_owned).map_or_else(|| self.refuse(flag), Ok)
    }

    fn secret(&self, _question: &str) -> anyhow::Result<String> {
        Ok(String::new())
    }

    fn yes(&self, _question: &str, default: bool) -> anyhow::Result<bool> {
        Ok(default)
    }

    fn choose(&self, _question: &str, _options: &[String], flag: &str) -> anyhow::Result<usize> {
        if self.is_yes { Ok(0) } else { self.refuse(flag) }
    }
}
