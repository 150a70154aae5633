//! Everything that is tested on the whole house, and on the project as a whole: one program, linked once.

mod promises;
mod rooms;
