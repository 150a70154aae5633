//! The shell in which a page is typed: a copy of its folder with ports that are free, commands that end, and terminals in which
//! something keeps running. Everything that was started ends with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{page, ports};

/// How long a page may wait for what it says you see.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Shell {
    folder: tempfile::TempDir,
    name: String,
    /// The bridge's port.
    listen: String,
    /// What pages say, and what is meant here.
    places: Vec<(&'static str, String)>,
    terminals: BTreeMap<String, Terminal>,
    said: String,
}

struct Terminal {
    child: Child,
    output: PathBuf,
}

impl Shell {
    /// A shell in a copy of the example's folder. Without a broker, records live in a file there.
    pub fn new(example: &Path, broker: Option<&str>) -> Shell {
        let place = match broker {
            Some(broker) => ("127.0.0.1:9092", broker.to_owned()),
            None => ("till-bridge --", "till-bridge --log embedded:till.db --".to_owned()),
        };
        Shell::at(example, vec![place])
    }

    /// The same with what pages say, and what is meant here.
    pub fn at(example: &Path, mut places: Vec<(&'static str, String)>) -> Shell {
        let listen = ports::free(0).to_string();
        places.extend([("3001", listen.clone()), ("8080", ports::free(0).to_string())]);
        let name = example.file_name().expect("it is a folder").to_string_lossy().into_owned();
        let folder = tempfile::tempdir().unwrap();
        let shell = Shell { folder, name, listen, places, terminals: BTreeMap::new(), said: String::new() };
        shell.copy(example, shell.folder.path());
        shell
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn copy(&self, from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let (path, copy) = (entry.path(), to.join(entry.file_name()));
            match path.is_dir() {
                true if entry.file_name() == "node_modules" => {}
                true => self.copy(&path, &copy),
                false => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    std::fs::write(&copy, self.here(&text)).unwrap();
                    std::fs::set_permissions(&copy, path.metadata().unwrap().permissions()).unwrap();
                }
            }
        }
    }

    /// A text of the page with the ports of this run.
    pub fn here(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (said, meant)| text.replace(said, meant))
    }

    fn bash(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_till-bridge"));
        let programs = program.parent().expect("a program lies in a folder").display();
        let listen = format!("127.0.0.1:{}", self.listen);
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -euo pipefail\n{script}")]).current_dir(self.folder.path());
        command.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap_or_default()));
        // Pages run beside each other: each is a replica of its own.
        command.env("TILL_LISTEN", listen).env("HOSTNAME", &self.name).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Types a command and waits for its end.
    pub fn run(&mut self, script: &str) {
        let limited = "timeout 60 bash -c \"$SCRIPT\" 2>&1";
        let strict = format!("set -euo pipefail\n{script}");
        let output = self.bash(limited).env("SCRIPT", strict).output().expect("bash runs");
        self.said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\nsaid:\n{}\n{}", self.said, self.transcript());
    }

    /// Types a command in a terminal and leaves it running.
    pub fn open(&mut self, terminal: &str, script: &str) {
        let output = self.folder.path().join(format!(".{terminal}.out"));
        let file = File::create(&output).unwrap();
        let mut command = self.bash(script);
        command.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        let child = command.spawn().expect("bash runs");
        assert!(
            self.terminals.insert(terminal.to_owned(), Terminal { child, output }).is_none(),
            "{terminal} is taken"
        );
    }

    /// Waits until the expected lines were said.
    pub fn expect(&mut self, terminal: Option<&str>, expected: &str) {
        let begun = Instant::now();
        loop {
            let said = terminal.map_or_else(|| self.said.clone(), |name| self.terminal(name));
            let Some(missing) = page::missing(&said, expected) else { return };
            let can_come = terminal.is_some() && begun.elapsed() < DEADLINE;
            assert!(can_come, "`{missing}` was not said. {}\nlast command:\n{}", self.transcript(), self.said);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminal(&self, name: &str) -> String {
        let terminal = self.terminals.get(name).unwrap_or_else(|| panic!("no terminal is called {name}"));
        String::from_utf8_lossy(&std::fs::read(&terminal.output).unwrap()).into_owned()
    }

    /// Everything that terminals said.
    fn transcript(&self) -> String {
        self.terminals.keys().map(|name| format!("-- {name}:\n{}\n", self.terminal(name))).collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for terminal in self.terminals.values_mut() {
            terminal.end("-TERM", Duration::from_secs(5));
            terminal.end("-KILL", Duration::from_secs(5));
        }
    }
}

impl Terminal {
    /// Sends a signal to all that runs in it, and waits for the shell's end.
    fn end(&mut self, signal: &str, patience: Duration) {
        let begun = Instant::now();
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = Command::new("kill").args([signal, "--", &format!("-{}", self.child.id())]).status();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
