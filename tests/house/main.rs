//! Everything that is tested on the whole house, and on the project as a whole: one program, linked once.

mod bad_input;
mod bad_records;
mod command_line;
mod deposit;
mod forged;
mod kills;
mod promises;
mod readme;
mod redelivery;
mod rooms;
mod shop;
mod statements;
mod stories;
mod topics;
