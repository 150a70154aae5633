//! Whether sinks can be called: a connection and its TLS, and nothing over it. A function that sleeps may refuse it; a name that
//! nobody knows and a certificate that nobody trusts do not heal by waiting.

use std::path::Path;

use super::{Level, Place, Report};
use crate::config::{Config, DeadLetterSink, Sink};
use crate::tls;

pub async fn check(config: &Config, report: &mut Report, told: &dyn Fn(&str)) {
    let of_source = |source: &'_ crate::config::Source| {
        (source.sink.clone(), source.token_file.clone(), source.file.clone(), source.line)
    };
    let of_ping =
        |ping: &'_ crate::config::Ping| (ping.sink.clone(), ping.token_file.clone(), ping.file.clone(), ping.line);
    // No token is shown to a dead letter sink.
    let of_letters = |source: &'_ crate::config::Source| match &source.delivery.dead_letter_sink {
        Some(DeadLetterSink::Http(sink)) => Some((sink.clone(), None, source.file.clone(), source.line)),
        _ => None,
    };
    let letters = config.sources.iter().filter_map(of_letters);
    let all = config.sources.iter().map(of_source).chain(letters).chain(config.pings.iter().map(of_ping));
    for (sink, token_file, file, line) in all {
        let place = Place { file: &file, line };
        if let Some(token) = &token_file {
            check_token(token, place, report);
        }
        told(&format!("the sink {sink}"));
        check_sink(sink, place, report).await;
    }
}

fn check_token(file: &Path, place: Place, report: &mut Report) {
    let problem = match std::fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => return,
        Ok(_) => "it is empty".to_owned(),
        Err(error) => error.to_string(),
    };
    let text = format!("the token for the sink cannot be read: {}: {problem}", file.display());
    report.push(Level::Error, place, text, "write the token that the sink expects into that file");
}

async fn check_sink(sink: Sink, place: Place<'_>, report: &mut Report) {
    let name = sink.to_string();
    let looked = tokio::task::spawn_blocking(move || look(&sink)).await;
    match looked.unwrap_or_else(|error| Err((Level::Error, error.to_string(), "try again"))) {
        Ok(()) => {}
        Err((level, text, remedy)) => report.push(level, place, format!("the sink {name}: {text}"), remedy),
    }
}

fn look(sink: &Sink) -> Result<(), (Level, String, &'static str)> {
    let host = sink.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = sink.url.port_or_known_default().unwrap_or(80);
    match tls::dial(&host, port) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err((
                Level::Warning,
                "nobody listens there".into(),
                "fine, if it is asleep and is woken by a call",
            ));
        }
        Err(error) => {
            let remedy = "look at the sink's name and port, and at --resolve";
            return Err((Level::Error, error.to_string(), remedy));
        }
        Ok(_) if sink.url.scheme() == "http" => return Ok(()),
        Ok(_) => {}
    }
    let remedy = "look at sink.CACerts, auth.tls and the sink's certificate";
    let identity = sink.tls.identity.as_ref().map(tls::Identity::read).transpose();
    let identity = identity.map_err(|reason| (Level::Error, reason, remedy))?;
    tls::look(&host, port, sink.tls.authorities.as_deref(), identity.as_ref())
        .map_err(|reason| (Level::Error, format!("TLS: {reason}"), remedy))
}
