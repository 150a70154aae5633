//! What the functions tell one another: the payload of every event, one file for each topic. The constants are the events'
//! types. Payloads grow by optional fields only; a break is a new type.

pub mod core;
pub mod cron;
pub mod mailer;
pub mod payment;
pub mod webhook;
