//! Whether a bridge with these documents would do its work: the log, the sinks and the policies are looked at, nothing is written
//! and no event is sent. What is found comes with its file, its line and what helps.

mod budgets;
mod places;
mod sinks;
mod transactions;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Config, LogKind, Problem};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It will not work.
    Error,
    /// It may not be what is meant.
    Warning,
}

/// Something to know, for a person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub file: PathBuf,
    pub line: usize,
    pub text: String,
    pub remedy: String,
}

/// Everything that was found, errors first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub sources: usize,
    pub schedules: usize,
    pub topics: usize,
    pub findings: Vec<Finding>,
    /// Whether the documents themselves are wrong, so that nothing else was looked at.
    #[serde(skip)]
    unreadable: bool,
}

/// Where in the documents something stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    line: usize,
}

impl Report {
    /// Of documents that are not understood.
    pub fn of_problems(problems: &[Problem]) -> Report {
        let remedy = "correct the document".to_owned();
        let finding = |problem: &Problem| Finding {
            level: Level::Error,
            file: problem.file.clone(),
            line: problem.line,
            text: problem.text.clone(),
            remedy: remedy.clone(),
        };
        Report { findings: problems.iter().map(finding).collect(), unreadable: true, ..Report::default() }
    }

    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(|finding| finding.level != Level::Error)
    }

    /// As in sysexits.h: 0 it would work, 64 the documents are wrong, 69 what they need is not there.
    pub fn exit_code(&self) -> u8 {
        match (self.unreadable, self.is_fine()) {
            (true, _) => 64,
            (false, false) => 69,
            (false, true) => 0,
        }
    }

    fn push(&mut self, level: Level, place: Place, text: impl Into<String>, remedy: impl Into<String>) {
        let file = place.file.to_owned();
        let finding = Finding { level, file, line: place.line, text: text.into(), remedy: remedy.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let (file, line) = (self.file.display(), self.line);
        write!(f, "{file}:{line}: {level}: {}\n  remedy: {}", self.text, self.remedy)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error).count();
        let warnings = self.findings.len() - errors;
        let Report { sources, schedules, topics, .. } = self;
        write!(f, "{sources} sources, {schedules} schedules and {topics} topics: {errors} errors, {warnings} warnings")
    }
}

/// Looks at everything that the documents need. `told` hears what is being looked at, before it is.
pub async fn check(config: &Config, told: &dyn Fn(&str)) -> Report {
    let mut report = Report {
        sources: config.sources.len(),
        schedules: config.pings.len(),
        topics: config.topics.len(),
        ..Report::default()
    };
    budgets::check(config, &mut report);
    match &config.log {
        LogKind::Kafka => {
            told(&format!("Kafka at {}", config.bootstrap_servers().unwrap_or_default()));
            places::check(config, &mut report).await;
        }
        LogKind::Embedded(_) => places::check_declared(config, &mut report),
    }
    sinks::check(config, &mut report, told).await;
    report.findings.sort_by(|one, other| (one.level, &one.file, one.line).cmp(&(other.level, &other.file, other.line)));
    report
}
