//! The life of the command `till`: read what is asked, do it, end with 0, 1 or 64.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use bridge::operate::{self, DeadLetters};
use clap::Parser;
use till::cli::{Cli, Command, Token, Where};
use till::data::Data;
use till::key::Claims;
use till::{Error, address, demo, sources, up};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    match runtime.block_on(run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let (red, plain) = if std::io::stderr().is_terminal() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            eprintln!("{red}till:{plain} {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<u8, Error> {
    let Cli { place, command } = cli;
    let done = match command {
        Command::Up(options) => up::up(&place, &options).await,
        Command::World(options) => up::world(&place, &options).await,
        Command::Demo => demo::demo(&place).await,
        Command::Token(options) => token(&place, &options),
        Command::Compile(options) => up::compile(&place, &options),
        Command::Check(options) => sources::check(&place, &options).await,
        Command::Explain(options) => sources::explain(&place, &options),
        Command::DeadLetters(asked) => return dead_letters(&place, *asked).await,
        Command::Topics(command) => sources::topics(&place, command).await,
    };
    done.map(|()| 0)
}

/// The house's own bridge and token, unless others are named.
async fn dead_letters(place: &Where, mut asked: DeadLetters) -> Result<u8, Error> {
    asked.address = asked.address.or_else(|| address::url(place.ports.bridge).parse().ok());
    asked.api_token = asked.api_token.or_else(|| Some(place.data.join("tokens/api")));
    Ok(operate::dead_letters(&asked).await?)
}

fn token(place: &Where, token: &Token) -> Result<(), Error> {
    let data = Data::open(&place.data)?;
    let claims = Claims { subject: &token.sub, roles: &token.roles, valid: Duration::from_secs(token.valid) };
    println!("{}", data.key().sign(&claims));
    Ok(())
}
