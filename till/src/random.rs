//! Chance for keys, tokens and run names: from the operating system, as text.

/// `bytes` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("every supported operating system has a source of random bytes");
    bytes
}

/// 32 lower-case hexadecimal digits (128 bits): enough for a development token.
pub fn token() -> String {
    hex(&bytes::<16>())
}

/// Six hexadecimal digits that tell one run of a story from another.
pub fn run_name() -> String {
    hex(&bytes::<3>())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_tokens_differ_and_have_128_bits() {
        assert_eq!(super::token().len(), 32);
        assert_ne!(super::token(), super::token());
    }
}
