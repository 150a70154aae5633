//! `till demo`: plays a story in the house that is up, or in one of its own, tells it, and ends with what it took.

mod figures;
mod narrator;
mod story;

use std::time::Duration;

use crate::Error;
use crate::cli::{Up, Where};
use crate::data::{Data, House};
use crate::up::Running;
use crate::visitor::Visitor;

use figures::Scrape;
use narrator::Narrator;

/// A house that was just started, or comes back from a kill, is ready within it.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The command.
pub async fn demo(place: &Where) -> Result<(), Error> {
    let data = Data::open(&place.data)?;
    match data.lock()? {
        Err(house) => {
            let ports = house.map_or_else(|| place.ports.clone(), |House { ports, .. }| ports);
            play(&Visitor::new(&ports, data.key())).await
        }
        Ok(lock) => {
            println!("No house is up here, so this one starts its own.");
            let house = Running::start(place, &Up::default(), &data).await?;
            let played = play(&Visitor::new(&place.ports, data.key())).await;
            house.stop().await;
            drop(lock);
            played
        }
    }
}

async fn play(house: &Visitor) -> Result<(), Error> {
    house.ready(READY_TIMEOUT).await?;
    let before = Scrape::take(house).await?;
    let say = Narrator::begin();
    story::paid_by_invoice(house, &say).await?;
    figures::tell(&say, &before, &Scrape::take(house).await?);
    Ok(())
}
