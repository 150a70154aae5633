//! A merchant's commands about endpoints. The secret is shown once, when an endpoint is created.

use domain::delivery::Health;
use domain::delivery::signature::Secret;
use domain::endpoint::{Address, AddressRefusal, Exceptions};
use guest::clock::rfc3339;
use guest::{Answer, Code, Problem, Tx, new_id, now_ms, variable};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::random;
use crate::store::{self, EndpointRow};

/// A merchant's fact becomes one delivery for each endpoint: a bound on what one fact can cost.
const ENDPOINTS_MAX: usize = 10;

/// What a merchant wants to have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    url: String,
}

/// What a merchant wants to change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    url: Option<String>,
    enabled: Option<bool>,
}

pub async fn create(tx: &Tx<'_>, merchant: &str, wish: NewEndpoint) -> Result<Answer, Problem> {
    let url = checked(&wish.url).await?;
    if store::endpoints(tx, merchant).await?.len() >= ENDPOINTS_MAX {
        return Err(Problem::new(
            Code::LimitExceeded,
            format!("delete an endpoint first: {ENDPOINTS_MAX} are the most"),
        ));
    }
    let endpoint = EndpointRow {
        id: new_id("ep"),
        merchant: merchant.to_owned(),
        url,
        secret: Secret::new(random::secret_bytes()),
        health: Health::Well,
        created_at_ms: now_ms(),
        version: 1,
    };
    store::insert_endpoint(tx, &endpoint).await?;
    let mut view = view(&endpoint);
    view["secret"] = json!(endpoint.secret.reveal());
    Ok(Answer::created(&view))
}

pub async fn list(tx: &Tx<'_>, merchant: &str) -> Result<Answer, Problem> {
    let endpoints: Vec<Value> = store::endpoints(tx, merchant).await?.iter().map(view).collect();
    Ok(Answer::ok(&json!({ "endpoints": endpoints })))
}

pub async fn show(tx: &Tx<'_>, merchant: &str, id: &str) -> Result<Answer, Problem> {
    Ok(Answer::ok(&view(&store::endpoint_of(tx, merchant, id).await?)))
}

/// An endpoint that is enabled again gets what was withheld from it, at once.
pub async fn change(tx: &Tx<'_>, merchant: &str, id: &str, change: Change) -> Result<Answer, Problem> {
    let mut endpoint = store::endpoint_of(tx, merchant, id).await?;
    if let Some(url) = change.url {
        endpoint.url = checked(&url).await?;
    }
    match (change.enabled, endpoint.health) {
        (Some(false), _) => endpoint.health = Health::Disabled,
        (Some(true), Health::Disabled) => endpoint.health = Health::Well,
        _ => {}
    }
    store::save_endpoint(tx, &endpoint).await?;
    Ok(Answer::ok(&view(&endpoint)).wake_at(store::next_due_ms(tx).await?))
}

/// Its deliveries go with it; an attempt that is ordered finds nothing and is not made.
pub async fn delete(tx: &Tx<'_>, merchant: &str, id: &str) -> Result<Answer, Problem> {
    let endpoint = store::endpoint_of(tx, merchant, id).await?;
    store::delete_endpoint(tx, &endpoint.id).await?;
    Ok(Answer::no_content())
}

/// The address behind a URL, by what may be called from here now.
pub async fn address(url: &str) -> Result<Result<Address, AddressRefusal>, Problem> {
    let (private_host, bridge_url) = (variable("private_host").await?, variable("bridge_url").await?);
    Ok(Address::parse(url, Exceptions { private_host: &private_host, bridge_url: &bridge_url }))
}

async fn checked(url: &str) -> Result<String, Problem> {
    let address = address(url).await?.map_err(|refusal| Problem::new(Code::DestinationInvalid, refusal.to_string()))?;
    Ok(address.as_str().to_owned())
}

fn view(endpoint: &EndpointRow) -> Value {
    let (health, failing_since) = match endpoint.health {
        Health::Well => ("well", None),
        Health::Failing { since_ms } => ("failing", Some(rfc3339(since_ms))),
        Health::Disabled => ("disabled", None),
    };
    json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "enabled": endpoint.health != Health::Disabled,
        "health": health,
        "failing_since": failing_since,
        "created_at": rfc3339(endpoint.created_at_ms),
    })
}
