//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::failure::Exit;
use super::report::Printer;
use super::{
    apply, clean, demo, doctor, explain, get, invalidate, kinds, plan, push, registry, repair, slo, sql, stats,
    validate, verify, views, warm,
};
use crate::error::Error;

const AFTER_HELP: &str = "\
Start with: larder demo

Exit status: 0 good, 1 a finding or failure, 2 wrong usage, 130 interrupted.
LARDER_LOG=debug shows what happens, on stderr.";

/// A local, disk-cached feature store whose service level is watched from the first request
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Every command")]
pub struct Common {
    /// Print one JSON object instead of text; logs and progress stay on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// The cache directory [default: $FEATURE_CACHE_DIR, else ~/.feature_cache]
    // Not clap's own `env`: its usage line would tell everybody who has set the variable to give the argument.
    #[arg(long, global = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// A settings file, such as config/larder.toml; the environment (LARDER_<KEY>) wins over it
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(demo::Options),
    Apply(apply::Options),
    Plan(plan::Options),
    Validate(validate::Options),
    Views(views::Options),
    /// List the sources that were applied, or describe one
    #[command(after_help = kinds::SOURCES)]
    Sources(kinds::Options),
    /// List the entities that were applied, or describe one
    #[command(after_help = kinds::ENTITIES)]
    Entities(kinds::Options),
    /// List the services that were applied, or describe one
    #[command(after_help = kinds::SERVICES)]
    Services(kinds::Options),
    Registry(registry::Options),
    Get(get::Options),
    Sql(sql::Options),
    Push(push::Options),
    Warm(warm::Options),
    Stats(stats::Options),
    Slo(slo::Options),
    Clean(clean::Options),
    Invalidate(invalidate::Options),
    Verify(verify::Options),
    Repair(repair::Options),
    Doctor(doctor::Options),
    Explain(explain::Options),
    #[cfg(feature = "server")]
    Serve(super::serve::Options),
}

/// Prints help, the version, or what is wrong with the arguments, and returns the exit status.
pub fn refuse(refused: &clap::Error, typed: impl Iterator<Item = OsString>) -> ExitCode {
    // Whoever reads the other end may have gone; the exit status still tells.
    let _ = refused.print();
    if !refused.use_stderr() {
        return Exit::Good.into();
    }
    // They could not be parsed, so whether JSON is wanted has to be looked for.
    if typed.into_iter().any(|argument| argument == "--json") {
        let text = refused.to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Printer::new(true).json_error(&Error::invalid(what).into());
    }
    Exit::Usage.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }
}
