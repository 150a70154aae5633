//! What the command `till` is made of: a data folder, the stand-ins of the outside world, the whole house in one process,
//! and the demo. A library as well, so that tests start the same parts as people do.

pub mod address;
pub mod banner;
pub mod chain;
pub mod cli;
pub mod client;
pub mod data;
pub mod demo;
pub mod error;
pub mod key;
pub mod metrics;
pub mod parts;
pub mod ports;
pub mod random;
pub mod settings;
pub mod sources;
pub mod until;
pub mod up;
pub mod visitor;
pub mod world;

pub use error::Error;
