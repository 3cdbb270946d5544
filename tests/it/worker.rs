//! Other processes that do what a test says. Each is this test binary again, in an ignored test of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{PTracer, Pid, Signal, kill_process, set_parent_process_death_signal, set_ptracer};

use crate::mutate::times;

/// Such a process. It is killed when this is dropped.
pub struct Worker {
    child: Child,
    to: ChildStdin,
    from: Receiver<String>,
}

/// What a worker prints for whoever started it; the test harness prints other lines.
pub fn say(line: &str) {
    // From its first word on it goes when the test goes, also where that is killed.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    // Where only ancestors may trace a process, strace is none. Fails where that is not so.
    let _ = set_ptracer(PTracer::Any);
    println!("\ndesk: {line}");
}

/// This binary, to be given to [`Worker::run`].
pub fn binary() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

impl Worker {
    /// Runs the ignored test of this name with these variables.
    pub fn start<'a>(test: &str, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut command = binary();
        command.envs(variables).stderr(Stdio::null());
        Self::run(command, test)
    }

    /// The same with a command of one's own, which is [`binary`] or runs it.
    pub fn run(mut command: Command, test: &str) -> Self {
        command.args(["--exact", test, "--nocapture", "--include-ignored"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        let (heard, from) = channel();
        // Only a thread can wait for a line and for a time.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((_, said)) = line.split_once("desk: ") else { continue };
                if heard.send(said.to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, to, from }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    /// The next line that it said.
    pub fn hear(&mut self) -> String {
        self.hear_or_end().expect("the worker ended")
    }

    /// The next line that it said; `None` once it has ended.
    pub fn hear_or_end(&mut self) -> Option<String> {
        // Only so that whatever hangs is told.
        match self.from.recv_timeout(Duration::from_secs(times(600, 36_000))) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the worker says nothing and does not end"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// How it ended, once it has.
    pub fn end(mut self) -> ExitStatus {
        while self.hear_or_end().is_some() {}
        self.child.wait().unwrap()
    }

    /// Kills it with `SIGKILL` and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
