//! Other processes that do what a test says. Each is this test binary again, in an ignored test of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Such a process. It is killed when this is dropped.
pub struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// What a worker prints for whoever started it; the test harness prints other lines.
pub fn say(line: &str) {
    // From its first word on it goes when the test goes, also where that is killed.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    println!("\ndesk: {line}");
}

impl Worker {
    /// Runs the ignored test of this name with these variables.
    pub fn start<'a>(test: &str, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--include-ignored"]).envs(variables).stderr(Stdio::null());
        Self::run(command)
    }

    /// The same with a command of one's own.
    pub fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
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
        loop {
            let mut line = String::new();
            if self.from.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once("desk: ") {
                return Some(said.to_owned());
            }
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends; its exit status, where it was not killed.
    pub fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
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
