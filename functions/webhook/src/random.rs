//! Chance, by the host's generator: for secrets and for the jitter of retries.

use spin_sdk::wasip3::random::random::{get_random_bytes, get_random_u64};

/// Fresh bytes that nobody can guess.
pub fn secret_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut filled = 0;
    // The host may give fewer bytes than it is asked for.
    while filled < bytes.len() {
        let some = get_random_bytes((bytes.len() - filled) as u64);
        bytes[filled..filled + some.len()].copy_from_slice(&some);
        filled += some.len();
    }
    bytes
}

/// Any number.
pub fn chance() -> u32 {
    (get_random_u64() >> 32) as u32
}
