//! The command line: what people type, turned into calls. Exit codes: 0 done, 1 failed or refused, 2 misused.

mod ask;
mod check;
mod doctor;
mod door;
mod init;
mod load;
mod model;
mod paint;
mod plugin;
mod replay;
mod serve;
mod token;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::telemetry::log::Format;

/// A small host that lets sandboxed guests hold conversations.
#[derive(Debug, Parser)]
#[command(name = "parlor", version)]
pub struct Cli {
    /// The configuration file
    #[arg(long, short, global = true, env = "PARLOR_CONFIG", default_value = "parlor.yaml")]
    config: PathBuf,
    /// How log lines look
    #[arg(long, global = true, env = "PARLOR_LOG_FORMAT", default_value = "plain")]
    log_format: LogFormat,
    /// Which log lines there are, such as `info` or `parlor=debug`
    #[arg(long, global = true, env = "PARLOR_LOG", default_value = "info")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people
    Plain,
    /// One JSON object a line, with ECS field names
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the configured channels until SIGTERM or Ctrl-C
    Serve,
    /// Report every problem of the configuration at once, with line and column
    Check,
    /// Ask a few questions, write a configuration and its secrets, and test them
    Init(init::Init),
    /// Find what really breaks, and say what to do
    Doctor(doctor::Doctor),
    /// The weights files that models run from
    #[command(subcommand)]
    Model(model::Model),
    /// Issue a token for the doors
    Token(token::Token),
    /// List what could not be answered or delivered, or try it once more
    Replay(replay::Replay),
    /// Make, try, sign and look at plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
}

/// Runs what was typed.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let format = match cli.log_format {
        LogFormat::Plain => Format::Plain,
        LogFormat::Json => Format::Json,
    };
    match cli.command {
        Command::Serve => {
            crate::telemetry::log::init(format, &cli.log)?;
            serve::run(&cli.config).await
        }
        Command::Check => check::run(&cli.config),
        Command::Init(wanted) => init::run(&cli.config, wanted).await,
        Command::Doctor(wanted) => doctor::run(&cli.config, &wanted).await,
        Command::Model(model) => model::run(&cli.config, model).await,
        Command::Token(token) => token::run(&cli.config, &token),
        Command::Replay(wanted) => replay::run(&cli.config, &wanted).await,
        Command::Plugin(plugin) => plugin::run(&cli.config, plugin, &cli.log).await,
    }
}

/// Reads the configuration, or fails with all of its problems.
fn load(path: &Path) -> anyhow::Result<Config> {
    Ok(load::config(path)?)
}
