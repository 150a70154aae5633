//! request.
pub const BODY_BYTES_MAX: usize = 1 << 20;
