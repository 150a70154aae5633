//! Invoices as their merchants see them: a wish is priced and gets an address of its own; its state can be asked for.

use domain::address::{AccountKey, Address, AddressError};
use domain::amount::{Amount, Money};
use domain::facts::payment::{Additional, Price};
use domain::invoice::request::{Request, RequestRefusal, Wish};
use domain::invoice::{Effect, Invoice, Terms};
use domain::rate::price::Ratio;
use guest::clock::rfc3339;
use guest::{Answer, Code, Command, Fact, Problem, Role, Tx, new_id, now_ms, variable};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{rates, settings, store};

/// A wish with everything that is needed from outside.
pub struct Opening {
    request: Request,
    rate: Option<Ratio>,
    key: AccountKey,
    chain: u64,
    scan_interval_ms: i64,
}

/// What a merchant sees.
#[derive(Serialize)]
struct Shown {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    price: Price,
    due: Money,
    /// Currency for one whole unit of the asset, where it was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    tolerance_bps: u32,
    chain: u64,
    address: String,
    /// EIP-681
    uri: String,
    received: Amount,
    confirmed: Amount,
    additional: Vec<Additional>,
    created_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<String>,
    metadata: Map<String, Value>,
}

/// Reads the wish and looks up its rate.
pub async fn gather(command: &Command) -> Result<Opening, Problem> {
    let chain = settings::chain().await?;
    let key = AccountKey::parse(&variable("xpub").await?).map_err(misconfigured)?;
    let scan_interval_ms = settings::number("scan_interval_ms").await?;
    let request = request(command, chain)?;
    let rate = match request.needs_rate() {
        true => Some(rates::rate(request.asset, request.price.currency).await?),
        false => None,
    };
    Ok(Opening { request, rate, key, chain, scan_interval_ms })
}

fn request(command: &Command, chain: u64) -> Result<Request, Problem> {
    command.principal()?.require(Role::Merchant)?;
    command.json::<Wish>()?.checked(chain).map_err(refuse)
}

/// `POST /payment/v1/invoices`
pub async fn open(tx: &Tx<'_>, command: &Command, opening: &Opening) -> Result<Answer, Problem> {
    let terms = terms(tx, &command.principal()?.id, opening).await?;
    let (invoice, effects) = Invoice::open(terms);
    store::invoice::insert(tx, &invoice).await?;
    let look_at = now_ms() + opening.scan_interval_ms;
    Ok(Answer::created(&shown(&invoice)?).and_tell(facts(&invoice, &effects)).wake_at(look_at))
}

async fn terms(tx: &Tx<'_>, merchant: &str, opening: &Opening) -> Result<Terms, Problem> {
    let request = opening.request.clone();
    let due = request.due(opening.rate).map_err(refuse)?;
    let position = store::invoice::next_address(tx).await?;
    let address = opening.key.address(position).map_err(misconfigured)?;
    let id = new_id("inv");
    let created_ms = now_ms();
    let terms = Terms {
        id,
        merchant: merchant.to_owned(),
        order_id: request.order_id,
        price: request.price,
        due,
        rate: opening.rate.map(Ratio::to_decimal),
        tolerance_bps: request.tolerance_bps,
        chain: opening.chain,
        address: address.to_string(),
        created_ms,
        expires_ms: created_ms + request.ttl_ms,
        metadata: request.metadata,
    };
    store::invoice::watch(tx, &address.to_lower(), position, &terms).await?;
    Ok(terms)
}

/// `GET /payment/v1/invoices/{id}`, for its merchant alone.
pub async fn show(tx: &Tx<'_>, command: &Command, id: &str) -> Result<Answer, Problem> {
    let invoice = store::invoice::load(tx, id).await?.map(|(invoice, _)| invoice);
    let merchant = &command.principal()?.id;
    let invoice = invoice.filter(|invoice| invoice.terms.merchant == *merchant);
    Ok(Answer::ok(&shown(&invoice.ok_or_else(|| Problem::not_found("invoice"))?)?))
}

fn shown(invoice: &Invoice) -> Result<Shown, Problem> {
    let (terms, sums) = (&invoice.terms, &invoice.sums);
    let address = Address::parse(&terms.address).map_err(|error| Problem::internal(error.to_string()))?;
    let unplaced = || Problem::internal(format!("{} is not on chain {}", terms.due.asset, terms.chain));
    let placement = terms.due.asset.on(terms.chain).ok_or_else(unplaced)?;
    Ok(Shown {
        id: terms.id.clone(),
        status: invoice.stage.label(),
        order_id: terms.order_id.clone(),
        price: terms.price,
        due: terms.due,
        rate: terms.rate.clone(),
        tolerance_bps: terms.tolerance_bps,
        chain: terms.chain,
        address: terms.address.clone(),
        uri: address.payment_uri(placement, terms.due),
        received: sums.received(),
        confirmed: sums.confirmed(),
        additional: invoice.additional(),
        created_at: rfc3339(terms.created_ms),
        expires_at: rfc3339(terms.expires_ms),
        paid_at: invoice.stage.paid_ms().map(rfc3339),
        metadata: terms.metadata.clone(),
    })
}

/// What is told of an invoice, in order.
pub fn facts(invoice: &Invoice, effects: &[Effect]) -> Vec<Fact> {
    effects.iter().map(|effect| Fact::new(effect.kind(), &invoice.terms.id, &invoice.told())).collect()
}

fn refuse(refusal: RequestRefusal) -> Problem {
    let code = match refusal {
        RequestRefusal::NotOnChain(..) | RequestRefusal::Currency(_) | RequestRefusal::Bounds { .. } => {
            Code::Validation
        }
        RequestRefusal::TooLow(_) => Code::AmountTooLow,
        RequestRefusal::TooHigh => Code::AmountTooHigh,
        RequestRefusal::NoRate => Code::RateUnavailable,
    };
    Problem::new(code, refusal.to_string())
}

fn misconfigured(error: AddressError) -> Problem {
    Problem::internal(format!("the variable xpub: {error}"))
}
