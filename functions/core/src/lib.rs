//! The core function.
