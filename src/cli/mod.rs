//! The `larder` program.
//!
//! | part | |
//! |---|---|
//! | `arguments` | what can be typed |
//! | `session` | settings and cache directory of one run |
//! | `demo`, `apply`, `plan`, `registry`, `validate`, `views`, `kinds`, `describe`, `get`, `sql`, `push`, `warm`, `stats`, `slo`, `clean`, `invalidate`, `verify`, `repair`, `doctor`, `explain`, `serve` | one per command: options, work, report |
//! | `report`, `page` | a report as JSON and as text |
//! | `progress`, `interrupt`, `failure` | a bar, Ctrl-C, and what ends a command early |
//!
//! A command returns a report and prints nothing itself, so that text and JSON hold the same facts.

mod apply;
mod arguments;
mod cache;
mod changes;
mod clean;
mod definitions;
mod demo;
mod describe;
mod doctor;
mod explain;
mod failure;
mod get;
mod interrupt;
mod invalidate;
mod kinds;
mod logging;
mod names;
mod output;
mod page;
mod plan;
mod progress;
mod push;
mod registry;
mod repair;
mod report;
#[cfg(feature = "server")]
mod serve;
mod session;
mod slo;
mod sql;
mod stats;
mod validate;
mod verify;
mod views;
mod warm;

use std::process::ExitCode;

use clap::Parser;

use crate::inspect::quantity;
use arguments::{Arguments, Command};
use report::Printer;
use session::Session;

/// Runs the program with this process's arguments and returns its exit status: 0 good, 1 a finding
/// or failure, 2 wrong usage, 130 interrupted.
pub fn run() -> ExitCode {
    logging::start();
    match Arguments::try_parse() {
        Ok(arguments) => execute(&arguments),
        Err(refused) => arguments::refuse(&refused, std::env::args_os()),
    }
}

fn execute(arguments: &Arguments) -> ExitCode {
    let printer = Printer::new(arguments.common.json);
    let session = match Session::begin(&arguments.common) {
        Ok(session) => session,
        Err(error) => return printer.failure(&error.into()),
    };
    match &arguments.command {
        Command::Demo(options) => printer.result(demo::run(options, &session)),
        Command::Apply(options) => printer.result(apply::run(options, &session)),
        Command::Plan(options) => printer.result(plan::run(options, &session)),
        Command::Validate(options) => printer.result(validate::run(options, &session)),
        Command::Views(options) => printer.result(views::run(options, &session)),
        Command::Sources(options) => printer.result(kinds::sources(options, &session)),
        Command::Entities(options) => printer.result(kinds::entities(options, &session)),
        Command::Services(options) => printer.result(kinds::services(options, &session)),
        Command::Registry(options) => printer.result(registry::run(options, &session)),
        Command::Sql(options) => printer.result(sql::run(options, &session)),
        Command::Get(options) => printer.result(get::run(options, &session)),
        Command::Push(options) => printer.result(push::run(options, &session)),
        Command::Warm(options) => printer.result(warm::run(options, &session)),
        #[cfg(feature = "server")]
        Command::Serve(options) => serve::run(options, &session, printer),
        Command::Stats(options) => printer.result(stats::run(options, &session)),
        Command::Slo(options) => printer.result(slo::run(options, &session)),
        Command::Clean(options) => printer.result(clean::run(options, &session)),
        Command::Invalidate(options) => printer.result(invalidate::run(options, &session)),
        Command::Verify(options) => printer.result(verify::run(options, &session)),
        Command::Doctor(options) => printer.result(doctor::run(options, &session)),
        Command::Explain(options) => printer.result(explain::run(options, &session)),
        Command::Repair(options) => printer.result(repair::run(options, &session)),
    }
}
