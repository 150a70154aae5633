//! Whether the cluster lets every source, and the ingress, write in transactions under the names that they will have.

use super::places::first;
use super::{Level, Place, Report};
use crate::config::Config;
use crate::log::{Group, Log, Transactions};

pub async fn check(config: &Config, log: &Log, report: &mut Report) {
    if config.transactions == Transactions::Never {
        return;
    }
    for source in &config.sources {
        let member = Group::new(&source.name, &source.group, &[], &config.replica, source.initial);
        let place = Place { file: &source.file, line: source.line };
        let writer = Writer { name: &source.name, beginning: format!("{}-", source.group), place };
        writer.check(config, log, Some(&member), report).await;
    }
    // Pushes, and orders to deliver a letter again.
    let appends = config.ingress_tokens.is_some() || config.api_token.is_some();
    if let (true, Some(place)) = (appends, first(config)) {
        let writer = Writer { name: "the ingress", beginning: "till-ingress-".into(), place };
        writer.check(config, log, None, report).await;
    }
}

/// Who writes, and how its transactional ids begin on every bridge.
struct Writer<'a> {
    name: &'a str,
    beginning: String,
    place: Place<'a>,
}

impl Writer<'_> {
    async fn check(&self, config: &Config, log: &Log, member: Option<&Group>, report: &mut Report) {
        let Writer { name, beginning, place } = self;
        let refused = match log.no_transactions(member).await {
            Ok(None) => return,
            Ok(Some(refused)) => refused,
            Err(error) => {
                let text = format!("{name}: the broker does not tell whether we may write in transactions: {error}");
                let remedy = format!("look at the ACLs of transactional ids that begin with {beginning}");
                return report.push(Level::Warning, *place, text, remedy);
            }
        };
        let (level, outcome) = match config.transactions {
            Transactions::Required => (Level::Error, "nothing would be written"),
            _ => (Level::Warning, "what it writes would be written at least once"),
        };
        let text = format!("{name}: there are no transactions for {}, and {outcome}: {}", refused.id, refused.reason);
        let remedy = format!(
            "give our user an ACL: Write and Describe on transactional ids that begin with {beginning}; or say --transactions never"
        );
        report.push(level, *place, text, remedy);
    }
}
