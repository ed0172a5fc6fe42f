//! `parlor init`: a few questions, then `parlor.yaml` and `secrets.env`, and `doctor` over both.
//!
//! What is asked about a platform comes out of the manifests in the plugin folder: no platform is known here.
//! `answers` finds out what is wanted, by flags and by `ask`; `write` makes the files of it.

mod answers;
mod write;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::ask::{Ask, Nobody, Terminal};
use super::{doctor, load};
use crate::config::secrets_file::SECRETS_FILE;
use answers::Answers;

#[derive(Debug, clap::Args)]
pub struct Init {
    /// The folder for the files; else the one of `--config`
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Ask nothing: what no flag says is as recommended
    #[arg(long)]
    yes: bool,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
    /// `recommended` (downloads a small one), a `.gguf` file, an address as for `model pull`, `endpoint` or `echo`
    #[arg(long)]
    model: Option<String>,
    /// An endpoint that speaks OpenAI's chat completions; its key is taken from `MODEL_API_KEY`
    #[arg(long)]
    endpoint: Option<String>,
    /// The model's name at the endpoint
    #[arg(long)]
    model_name: Option<String>,
    /// The adapter of a first channel, by its plugin's name, or `none`; its secrets are taken from the environment
    #[arg(long)]
    channel: Option<String>,
    /// How the channel is called, and its address: `team` answers at `/webhook/team`
    #[arg(long)]
    channel_name: Option<String>,
    /// A setting of the channel's adapter, as `NAME=VALUE`; may be given several times
    #[arg(long = "setting")]
    settings: Vec<String>,
    /// Pipelines, front to back
    #[arg(long, value_delimiter = ',')]
    pipelines: Option<Vec<String>>,
    /// Whether there is a chat page
    #[arg(long, action = clap::ArgAction::Set, value_name = "true|false")]
    page: Option<bool>,
    /// The folder of the plugins
    #[arg(long)]
    plugins: Option<PathBuf>,
    /// Address and port of all doors
    #[arg(long)]
    listen: Option<std::net::SocketAddr>,
    /// Address and port of the operators' own door
    #[arg(long)]
    admin_listen: Option<std::net::SocketAddr>,
    /// How the outside reaches it
    #[arg(long)]
    public_url: Option<String>,
    /// The outcome as one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(config: &Path, wanted: Init) -> anyhow::Result<()> {
    let config = match &wanted.dir {
        Some(folder) => folder.join("parlor.yaml"),
        None => config.to_owned(),
    };
    let secrets = load::folder(&config).join(SECRETS_FILE);
    refuse_occupied(&[&config, &secrets], wanted.force)?;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let terminal: Box<dyn Ask> =
        if wanted.yes || !is_terminal { Box::new(Nobody { is_yes: wanted.yes }) } else { Box::new(Terminal) };
    let answers = Answers::find(&wanted, &config, &*terminal).await?;
    let missing = write::files(&answers, &config, &secrets)?;
    let findings = doctor::examine(&config).await?;
    if wanted.json {
        let files = [&config, &secrets];
        println!("{}", json!({ "files": files, "missing": missing, "findings": findings }));
    } else {
        println!("wrote {} and {}\n", config.display(), secrets.display());
        print!("{}", doctor::text(&findings, super::paint::has_colours(&std::io::stdout())));
        print!("{}", next(&answers, &config, &secrets, &missing));
    }
    doctor::conclude(&findings)
}

fn refuse_occupied(files: &[&Path], is_forced: bool) -> anyhow::Result<()> {
    let there: Vec<String> = files
        .iter()
        .filter(|file| file.exists() && !is_forced)
        .map(|file| format!("`{}`", file.display()))
        .collect();
    let verb = if there.len() == 1 { "is" } else { "are" };
    anyhow::ensure!(
        there.is_empty(),
        "{} {verb} there already; take another folder by `--dir`, or write over it by `--force`",
        there.join(" and ")
    );
    Ok(())
}

/// What is left to do.
fn next(answers: &Answers, config: &Path, secrets: &Path, missing: &[String]) -> String {
    let mut text = String::from("\nNext:\n");
    if !missing.is_empty() {
        text.push_str(&format!("  write {} into {}\n", missing.join(", "), secrets.display()));
    }
    text.push_str(&format!("  parlor serve --config {}\n", config.display()));
    if answers.page {
        text.push_str(&format!("  open http://{}/\n", answers.listen));
    }
    for channel in &answers.channels {
        let public = answers.public_url.as_deref().unwrap_or("https://your.host").trim_end_matches('/');
        text.push_str(&format!("  tell the platform this address: {public}/webhook/{}\n", channel.name));
    }
    text
}

/// 256 random bits in hex, as long as the hash of the tokens' signature.
fn random_secret() -> anyhow::Result<String> {
    use ring::rand::{SecureRandom as _, SystemRandom};
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok().context("the system gives no random bytes")?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use clap::Parser as _;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::command::ask::Fits;

    #[derive(Debug, clap::Parser)]
    struct Typed {
        #[command(flatten)]
        init: Init,
    }

    /// A person who answers in this order, and what that person was asked.
    struct Person {
        answers: RefCell<VecDeque<&'static str>>,
        asked: RefCell<Vec<String>>,
    }

    impl Person {
        fn answer(&self, question: &str) -> String {
            self.asked.borrow_mut().push(question.to_owned());
            let answer = self.answers.borrow_mut().pop_front();
            answer.unwrap_or_else(|| panic!("nobody expected: {question}")).to_owned()
        }
    }

    impl Ask for Person {
        fn text(
            &self,
            question: &str,
            default: Option<&str>,
            _flag: &str,
            fits: Fits<'_>,
        ) -> anyhow::Result<String> {
            loop {
                let answer = self.answer(question);
                let answer = if answer.is_empty() { default.unwrap_or_default().to_owned() } else { answer };
                if fits(&answer).is_ok() {
                    return Ok(answer);
                }
            }
        }

        fn secret(&self, question: &str) -> anyhow::Result<String> {
            Ok(self.answer(question))
        }

        fn yes(&self, question: &str, _default: bool) -> anyhow::Result<bool> {
            Ok(self.answer(question) == "y")
        }

        fn choose(&self, question: &str, options: &[String], _flag: &str) -> anyhow::Result<usize> {
            let answer = self.answer(question);
            Ok(options.iter().position(|option| option.contains(&answer)).expect("it is among the options"))
        }
    }

    #[tokio::test]
    async fn a_person_is_asked_what_the_manifests_say() {
        let plugins = std::env::var("PARLOR_TEST_PLUGINS")
            .expect("`PARLOR_TEST_PLUGINS` names no folder of built plugins: run `cargo xtask test`");
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("parlor.yaml");
        let flags = Typed::try_parse_from(["init", "--plugins", &plugins]).unwrap().init;
        let wrong = ["Help Desk", "bot.example.com"];
        let given = ["webhook: Signed HTTP", wrong[0], "desk", "a secret", "", wrong[1]];
        let given = given.into_iter().chain(["https://bot.example.com", "n", "none:"]).collect();
        let person = Person { answers: RefCell::new(given), asked: RefCell::default() };
        let answers = Answers::find(&flags, &config, &person).await.unwrap();
        let asked = person.asked.borrow().join("\n");
        assert!(asked.contains("secret: Incoming requests are signed with it"), "{asked}");
        assert!(asked.contains("callback_secret: Pushed replies are signed"), "{asked}");
        assert!(person.answers.borrow().is_empty());

        let missing = write::files(&answers, &config, &folder.path().join(SECRETS_FILE)).unwrap();
        assert_eq!(missing, Vec::<String>::new());
        let config = load::config(&config).unwrap();
        let desk = &config.channels["desk"];
        assert_eq!((desk.adapter.as_str(), desk.secrets["secret"].expose_secret()), ("webhook", "a secret"));
        assert_eq!(desk.secrets.len(), 1, "what was left empty is left out");
        assert_eq!(config.public_url.unwrap().as_str(), "https://bot.example.com/");
        assert!(config.chat.is_none());
    }
}
