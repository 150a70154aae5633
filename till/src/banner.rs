//! What `till up` prints when the house is up: addresses, ready-made tokens, and three commands to try.

use std::io::IsTerminal;
use std::time::Duration;

use crate::address::url;
use crate::cli::{Up, Where};
use crate::data::{Data, House};
use crate::key::Claims;

/// How long the printed tokens are valid: a day of trying things out.
const TOKEN_VALID: Duration = Duration::from_secs(24 * 3600);

/// The house is up.
pub fn up(place: &Where, options: &Up, data: &Data) {
    let (bold, plain) = colours();
    let ports = &place.ports;
    println!("\n{bold}The house is up.{plain} Ctrl-C stops it; its data stays in {}.\n", data.folder().display());
    let log = options.kafka.as_ref().map_or("embedded log".to_owned(), |brokers| format!("Kafka {brokers}"));
    line("functions", &format!("{}/{{admin,core,cron,mailer,payment,webhook}}/v1/…", url(ports.functions)));
    line("bridge", &format!("{}  ({log}; /health/ready, /metrics)", url(ports.bridge)));
    line("metrics", &format!("{}/metrics", url(ports.metrics)));
    line("mailbox", &format!("{}/api/v1/messages", url(ports.mailbox)));
    line("merchant", &format!("{}/received", url(ports.merchant)));
    line("rates", &format!("{}/a/v2/prices/ETH-EUR/spot", url(ports.feeds)));
    line("chain", &format!("{}  (anvil, JSON-RPC)", url(ports.chain)));
    line("log", &data.path("till.log").display().to_string());
    tokens(data, bold, plain);
    commands(place, bold, plain);
}

fn line(name: &str, address: &str) {
    println!("  {name:<10} {address}");
}

fn tokens(data: &Data, bold: &str, plain: &str) {
    println!("\n{bold}Tokens{plain} (valid for a day; `till token` makes others)\n");
    for (variable, person, roles) in
        [("ALICE", "alice", "user"), ("SHOP", "shop", "user merchant"), ("OPERATOR", "olga", "operator")]
    {
        let roles: Vec<String> = roles.split(' ').map(str::to_owned).collect();
        println!("  {variable}={}", data.key().sign(&Claims { subject: person, roles: &roles, valid: TOKEN_VALID }));
    }
}

fn commands(place: &Where, bold: &str, plain: &str) {
    let functions = url(place.ports.functions);
    println!("\n{bold}Try{plain}\n");
    println!("  make demo");
    println!("  curl -sS {functions}/core/v1/users -H \"Authorization: Bearer $ALICE\" \\");
    println!("    -H 'Content-Type: application/json' -d '{{\"email\": \"alice@example.org\", \"locale\": \"en\"}}'");
    println!("  curl -sS {}/api/v1/messages", url(place.ports.mailbox));
}

/// A second run finds the first.
pub fn already_up(house: Option<&House>) {
    match house {
        Some(House { process, ports }) => {
            println!(
                "The house is already up (process {process}): {} and bridge {}.",
                url(ports.functions),
                url(ports.bridge)
            );
            println!("Stop it with Ctrl-C where it runs, or: kill {process}");
        }
        None => println!("Another process is just starting the house."),
    }
}

fn colours() -> (&'static str, &'static str) {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") }
}
