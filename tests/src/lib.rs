//! What the tests of the whole house stand on: a house of separate processes in a folder of its own, and looks at the
//! project itself.

pub mod house;
pub mod outside;
pub mod process;
pub mod project;
pub mod promises;
pub mod rows;
pub mod skip;
pub mod statements;
