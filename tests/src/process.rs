//! One process of a house: started with its output in a file, killed without warning, started again as it was.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use till::Error;

use crate::project;

/// Time that a process has to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How a process is started, and the one that runs now.
#[derive(Debug)]
pub struct Process {
    program: &'static str,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Not started yet. Its output goes to the end of `log`.
    pub fn new(program: &'static str, arguments: &[&str], environment: BTreeMap<String, String>, log: PathBuf) -> Self {
        let arguments = arguments.iter().map(OsString::from).collect();
        Process { program, arguments, environment, log, child: None }
    }

    /// Starts it; nothing when it runs.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log).map_err(Error::file(&self.log))?;
        let program = project::program(self.program);
        let child = Command::new(&program)
            .args(&self.arguments)
            .envs(&self.environment)
            .current_dir(project::root())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(Error::file(&self.log))?)
            .stderr(log)
            .spawn()
            .map_err(Error::file(&program))?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL: it gets no chance to write anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().map_err(Error::file(&self.log))?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            match child.try_wait().map_err(Error::file(&self.log))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(Error::Part {
                        part: self.program,
                        reason: format!("ended with {status}\n{}", self.said()),
                    });
                }
                None if Instant::now() > deadline => {
                    child.kill().ok();
                    return Err(Error::Part {
                        part: self.program,
                        reason: "does not stop when it is asked to".to_owned(),
                    });
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// The last lines of its output.
    pub fn said(&self) -> String {
        let text =
            std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
