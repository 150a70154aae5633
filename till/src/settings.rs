//! What a house on a laptop is told: the values of spin.toml's variables, and the environment that sources.yaml reads.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Error;
use crate::address::{Ports, url};
use crate::data::{Data, FUNCTIONS};

/// The account xpub of the well-known mnemonic "abandon … about" (DOMAIN.md, "Addresses"): nobody's money.
const XPUB: &str =
    "xpub6DCoCpSuQZB2jawqnGMEPS63ePKWkwWPH4TU45Q7LPXWuNd8TMtVxRrgjtEshuqpK3mdhaWHPFsBngh5GFZaM6si3yZdUsT8ddYM3PwnATt";

/// Values of spin.toml's variables. `database` makes a function's database URL of its name; `None` is SQLite.
pub fn variables(
    data: &Data,
    ports: &Ports,
    database: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut variables = BTreeMap::from([
        ("bridge_url".to_owned(), url(ports.bridge)),
        ("jwks".to_owned(), data.key().jwks().to_string()),
        ("mail_url".to_owned(), url(ports.mailbox)),
        ("mail_origin".to_owned(), url(ports.mailbox)),
        ("chain_url".to_owned(), url(ports.chain)),
        ("chain_origin".to_owned(), url(ports.chain)),
        ("xpub".to_owned(), XPUB.to_owned()),
        ("rate_feed_a".to_owned(), format!("{}/a", url(ports.feeds))),
        ("rate_feed_b".to_owned(), format!("{}/b", url(ports.feeds))),
        ("rate_feed_a_origin".to_owned(), url(ports.feeds)),
        ("rate_feed_b_origin".to_owned(), url(ports.feeds)),
        ("webhook_private_host".to_owned(), format!("127.0.0.1:{}", ports.merchant)),
    ]);
    for function in FUNCTIONS {
        variables.insert(format!("{function}_bridge_token"), data.token(&format!("bridge/{function}"))?);
        variables.insert(format!("{function}_push_token"), data.token(&format!("push/{function}"))?);
        if let Some(database) = database(function) {
            variables.insert(format!("{function}_database_url"), database);
        }
    }
    Ok(variables)
}

/// What sources.yaml takes from its environment: the brokers, and where the tokens lie.
pub fn environment(tokens: &Path, kafka: Option<&str>, replication: u16) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("KAFKA".to_owned(), kafka.unwrap_or("embedded").to_owned()),
        ("KAFKA_REPLICATION".to_owned(), replication.to_string()),
        ("TILL_TOKENS".to_owned(), tokens.display().to_string()),
    ])
}
