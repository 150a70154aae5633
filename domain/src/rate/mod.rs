//! What one asset is worth in another.

pub mod price;
