//! The command line: what people type, with examples, and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::address::Ports;
use crate::world::Part;

const EXAMPLES: &str = "Examples:
  till up                                 the whole house; Ctrl-C stops it
  till up --kafka 127.0.0.1:9092          the same on a real Kafka
  till demo                               a payment from invoice to webhook, told line by line
  till token --sub alice --role user      a token for curl
  till explain record.json                the request that a record would become
  till check                              whether the sources and what they need are as they should be
  till dead-letters list                  what was given up, and why

Exit codes: 0 it worked, 1 it did not, 64 it was asked wrongly.";

/// A cash till that sleeps till an event arrives
#[derive(Debug, Parser)]
#[command(name = "till", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub place: Where,
    #[command(subcommand)]
    pub command: Command,
}

/// Which house is meant.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// The folder that a house keeps everything in
    #[arg(long, value_name = "FOLDER", default_value = ".till", env = "TILL_DATA", global = true)]
    pub data: PathBuf,
    /// The folder of spin.toml and knative/
    #[arg(long, value_name = "FOLDER", default_value = ".", global = true)]
    pub project: PathBuf,
    #[command(flatten)]
    pub ports: Ports,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole house: bridge, host with the six functions, and a development world around them
    Up(Up),
    /// Run the development world alone: chain, mailbox, merchant and rate feeds
    World(World),
    /// Play the story "paid by invoice" in the house that is up, or in one of its own, and tell it
    Demo,
    /// Print a token for a person, signed by the development key
    Token(Token),
    /// Compile the components for this machine's kind of CPU, so that a start compiles nothing
    Compile(Compile),
    /// Check sources and what they need, with file, line and remedy; no record is read, no sink is called
    Check(Check),
    /// Show the request that a record would become, for each source that hears its topic
    Explain(Explain),
    /// Dead letters of the house that is up: list, show, deliver again
    DeadLetters(Box<bridge::operate::DeadLetters>),
    /// Topics of the log
    #[command(subcommand)]
    Topics(Topics),
}

#[derive(Debug, Clone, Default, Args)]
pub struct World {
    /// Leave parts out, because somebody else brings them
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    pub without: Vec<Part>,
    /// The program anvil, when it is not where `make up` puts it
    #[arg(long, value_name = "FILE", env = "TILL_ANVIL")]
    pub anvil: Option<PathBuf>,
}

impl World {
    /// The parts that are left out.
    pub fn left_out(&self) -> BTreeSet<Part> {
        self.without.iter().copied().collect()
    }
}

#[derive(Debug, Clone, Args)]
pub struct Up {
    #[command(flatten)]
    pub world: World,
    /// Brokers of a real Kafka; the embedded log without it
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    /// Copies that a real Kafka keeps of each record
    #[arg(long, value_name = "COUNT", env = "KAFKA_REPLICATION", default_value_t = 1)]
    pub replication: u16,
}

impl Default for Up {
    fn default() -> Self {
        Up { world: World::default(), kafka: None, replication: 1 }
    }
}

#[derive(Debug, Args)]
pub struct Token {
    /// The user's id
    #[arg(long, value_name = "ID")]
    pub sub: String,
    /// user, merchant, viewer, operator, approver or admin; may be repeated
    #[arg(long = "role", value_name = "ROLE", default_value = "user")]
    pub roles: Vec<String>,
    /// How many seconds it is valid
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 3600)]
    pub valid: u64,
}

#[derive(Debug, Args)]
pub struct Compile {
    /// Where the compiled components go; {data}/compiled when not given
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Files of YAML documents
    #[arg(value_name = "FILE", default_value = "knative/till/sources.yaml")]
    pub sources: Vec<PathBuf>,
    /// Brokers of a real Kafka, whose topics and rights are looked at as well
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    /// What is found as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A record as JSON: {"topic", "key", "headers": {…}, "value"}; a value that is no text is sent as JSON
    #[arg(value_name = "RECORD")]
    pub record: PathBuf,
    /// Files of YAML documents
    #[arg(value_name = "FILE", default_value = "knative/till/sources.yaml")]
    pub sources: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Topics {
    /// Create the topics that are missing; never change one that is there
    Apply {
        /// Brokers
        #[arg(long, value_name = "HOST:PORT,…", env = "KAFKA")]
        kafka: String,
        /// Copies that the brokers keep of each record
        #[arg(long, value_name = "COUNT", env = "KAFKA_REPLICATION", default_value_t = 1)]
        replication: u16,
        /// Files of YAML documents
        #[arg(value_name = "FILE", default_value = "knative/till/sources.yaml")]
        sources: Vec<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn parts_can_be_left_out_in_one_word() {
        let cli = Cli::try_parse_from(["till", "up", "--without", "chain,mailbox"]).unwrap();
        let Command::Up(up) = cli.command else { panic!("not up") };
        assert_eq!(up.world.left_out(), BTreeSet::from([Part::Chain, Part::Mailbox]));
    }
}
