//! One place where a request becomes an input and an outcome a response: request ▸ door ▸ unit of work ▸ push ▸ answer.

use ::http::{Method, Response, StatusCode};
use bytes::Bytes;
use event::Event;
use http_body_util::Full;

use crate::idempotency;
use crate::identity;
use crate::input::{Command, Door, Input, refuse_forged};
use crate::outbox::{self, Way};
use crate::outcome::Outcome;
use crate::problem::{Code, Problem};
use crate::request::Request;
use crate::sql::{self, Db, Purpose};
use crate::telling::{Origin, is_traceparent};
use crate::variables::variable;
use crate::work::{Once, Work};
use crate::{Answer, Function, clock, inbox};

/// The type of the bridge's call at the instant that a function asked for.
const WAKE: &str = "dev.till.wake";

/// Serves one request of a function: the whole body of its entry point.
pub async fn serve<F: Function>(function: F, request: spin_sdk::http::Request) -> Response<Full<Bytes>> {
    let outcome = match Request::read(request, F::NAME).await {
        Ok(request) => enter(&function, request).await,
        Err(problem) => Outcome::of_problem(&problem, problem.code.status()),
    };
    outcome.into_response()
}

async fn enter<F: Function>(function: &F, request: Request) -> Outcome {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let (outcome, status): (_, fn(&Problem) -> StatusCode) = match (&request.method, path.as_slice()) {
        (&Method::GET, ["health"]) => (Ok(Outcome::of_command(Answer::ok(&"awake"))), |problem| problem.code.status()),
        (_, ["health"]) => (Err(method_not_allowed("GET")), |problem| problem.code.status()),
        (&Method::POST, ["events"]) => (hear(function, request).await, Problem::status_of_event),
        (_, ["events"]) => (Err(method_not_allowed("POST")), |problem| problem.code.status()),
        _ => (obey(function, request).await, |problem| problem.code.status()),
    };
    outcome.unwrap_or_else(|problem| {
        if !problem.is_refusal() {
            eprintln!("{problem}");
        }
        Outcome::of_problem(&problem, status(&problem))
    })
}

fn method_not_allowed(allowed: &str) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("use {allowed}"))
}

/// An event or a wake, from the bridge alone.
async fn hear<F: Function>(function: &F, request: Request) -> Result<Outcome, Problem> {
    identity::require_bridge(request.token().unwrap_or_default(), &variable("bridge_token").await?)?;
    let way = if request.prefers_reply() { Way::Reply } else { Way::Outbox };
    let event = one_event(&request)?;
    refuse_forged(&event, F::NAME)?;
    let db = open::<F>().await?;
    let origin = origin::<F>(&request, Some(&event)).await?;
    let is_wake = event.kind == WAKE;
    let (input, once, way) = if is_wake {
        (Input::Wake, Once::Never, Way::Outbox)
    } else {
        (Input::Event(event.clone()), Once::Event(event), way)
    };
    let work = Work { function, db: &db, input, once, origin, way, purpose: Purpose::Write };
    let finished = work.run().await?;
    outbox::push(&db, F::NAME, finished.leased, None).await;
    let mut outcome = finished.outcome;
    if is_wake {
        let again_ms = tidy::<F>(&db).await?;
        outcome.wake_at_ms = outcome.wake_at_ms.into_iter().chain(again_ms).min();
    }
    Ok(outcome)
}

/// What every wake does beside the function's own work, and when it has to go on with it.
async fn tidy<F: Function>(db: &Db) -> Result<Option<i64>, Problem> {
    let more_ms = inbox::forget_old(db).await?;
    let unsent_ms = outbox::sweep(db, F::NAME).await?;
    Ok(more_ms.into_iter().chain(unsent_ms).min())
}

/// A client's command.
async fn obey<F: Function>(function: &F, request: Request) -> Result<Outcome, Problem> {
    let origin = origin::<F>(&request, None).await?;
    let token = request.token().map(str::to_owned);
    let mut command = Command {
        method: request.method,
        path: request.path,
        query: request.query,
        headers: request.headers,
        body: request.body,
        principal: None,
    };
    let door = function.door(&command);
    if door != Door::Open {
        command.principal = Some(identity::authenticate(token.as_deref().unwrap_or_default()).await?);
    }
    let key = idempotency::key(door, &command)?;
    let once = key.map_or(Once::Never, Once::Key);
    let purpose = if command.method.is_safe() { Purpose::Read } else { Purpose::Write };
    let db = open::<F>().await?;
    let work = Work { function, db: &db, input: Input::Command(command), once, origin, way: Way::Outbox, purpose };
    let finished = work.run().await?;
    outbox::push(&db, F::NAME, finished.leased, finished.wake_at_ms).await;
    Ok(finished.outcome)
}

async fn open<F: Function>() -> Result<Db, Problem> {
    sql::open(F::NAME, F::MIGRATIONS, &variable("database_url").await?).await
}

fn one_event(request: &Request) -> Result<Event, Problem> {
    let events = event::http::decode(&request.headers, request.body.clone());
    let mut events = events.map_err(|malformed| Problem::validation(malformed.to_string()))?;
    match (events.pop(), events.is_empty()) {
        (Some(event), true) => Ok(event),
        _ => Err(Problem::validation("send one event, not a batch")),
    }
}

/// Where the facts of this call come from: the event that is heard, or a beginning of its own.
async fn origin<F: Function>(request: &Request, event: Option<&Event>) -> Result<Origin, Problem> {
    let extension = |name: &str| event.and_then(|event| event.extensions.get(name).cloned());
    let header = request.headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let traceparent = [extension("traceparent"), header].into_iter().flatten().find(|text| is_traceparent(text));
    let heard = event.filter(|event| event.kind != WAKE).map(|event| event.id.clone());
    Ok(Origin {
        function: F::NAME,
        epoch: variable("epoch").await?,
        correlation: extension("correlationid").or(heard.clone()).unwrap_or_else(|| clock::new_id("cor")),
        causation: heard,
        traceparent,
    })
}
