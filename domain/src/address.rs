//! Addresses of the EVM: an account's extended public key and an index become an address, bytes become EIP-55 text and back,
//! and an address with an amount becomes the EIP-681 link that a wallet opens.

use std::fmt;
use std::str::FromStr;

use bip32::{ChildNumber, ExtendedPublicKey};
use k256::elliptic_curve::sec1::ToSec1Point;
use sha3::{Digest, Keccak256};

use crate::amount::Money;
use crate::asset::Placement;

/// The last 20 bytes of a public key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

/// An account-level extended public key (BIP32), whose `0/i` are receiving addresses. It cannot spend.
#[derive(Debug, Clone)]
pub struct AccountKey(ExtendedPublicKey<k256::PublicKey>);

/// Why a text is no address or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `0x` and 40 hexadecimal digits.
    #[error("an address is 0x and 40 hexadecimal digits")]
    Shape,
    /// The capital letters are not those of EIP-55, so a digit is probably wrong.
    #[error("the address does not match its checksum (EIP-55)")]
    Checksum,
    /// Not an extended public key, or a private one.
    #[error("an extended public key starts with xpub and carries its own checksum (BIP32)")]
    Key,
    /// Non-hardened indices end at 2^31 − 1.
    #[error("the index is beyond what BIP32 derives")]
    Index,
}

impl AccountKey {
    /// Reads `xpub…`; an extended private key is refused.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        ExtendedPublicKey::from_str(text.trim()).map(AccountKey).map_err(|_| AddressError::Key)
    }

    /// The receiving address `0/index`.
    pub fn address(&self, index: u32) -> Result<Address, AddressError> {
        let child = |parent: &ExtendedPublicKey<k256::PublicKey>, index| {
            let number = ChildNumber::new(index, false).map_err(|_| AddressError::Index)?;
            parent.derive_child(number).map_err(|_| AddressError::Index)
        };
        let key = child(&child(&self.0, 0)?, index)?;
        let point = key.public_key().to_sec1_point(false);
        let hash = Keccak256::digest(&point.as_bytes()[1..]);
        Ok(Address(std::array::from_fn(|at| hash[12 + at])))
    }
}

impl Address {
    /// Reads either case; text with capital and small letters must match its EIP-55 checksum.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let digits = text.strip_prefix("0x").ok_or(AddressError::Shape)?;
        let address = Address(bytes_of_hex(digits).ok_or(AddressError::Shape)?);
        let has_both_cases = digits.bytes().any(|byte| byte.is_ascii_uppercase())
            && digits.bytes().any(|byte| byte.is_ascii_lowercase());
        if has_both_cases && address.to_string() != text {
            return Err(AddressError::Checksum);
        }
        Ok(address)
    }

    /// The address in the last 20 bytes of a 32-byte word, as logs carry it (`0x000…`); the rest must be zero.
    pub fn of_word(word: &str) -> Option<Self> {
        let digits = word.strip_prefix("0x").filter(|digits| digits.len() == 64 && digits.is_ascii())?;
        let (padding, address) = digits.split_at(24);
        if padding.bytes().any(|byte| byte != b'0') {
            return None;
        }
        bytes_of_hex(address).map(Address)
    }

    /// `0x` and small letters: how a chain's node and our tables spell it.
    pub fn to_lower(self) -> String {
        format!("0x{}", hex(&self.0))
    }

    /// EIP-681: asks a wallet to send that much, of the coin or of a token, on that chain.
    pub fn payment_uri(self, placement: &Placement, due: Money) -> String {
        let (chain, amount) = (placement.chain, due.amount);
        match placement.contract {
            None => format!("ethereum:{self}@{chain}?value={amount}"),
            Some(contract) => format!("ethereum:{contract}@{chain}/transfer?address={self}&uint256={amount}"),
        }
    }
}

/// EIP-55: a letter is a capital where the hash of the small letters has a high digit at its place.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex(&self.0);
        let hash = hex(&Keccak256::digest(digits.as_bytes()));
        let checked = digits.chars().zip(hash.bytes()).map(|(digit, hash)| match hash {
            b'8'..=b'f' => digit.to_ascii_uppercase(),
            _ => digit,
        });
        write!(f, "0x{}", checked.collect::<String>())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of_hex(digits: &str) -> Option<[u8; 20]> {
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Amount;
    use crate::asset::Asset;

    const XPUB: &str = "xpub6DCoCpSuQZB2jawqnGMEPS63ePKWkwWPH4TU45Q7LPXWuNd8TMtVxRrgjtEshuqpK3mdhaWHPFsBngh5GFZaM6si3yZdUsT8ddYM3PwnATt";
    const FIRST: &str = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94";

    // promise: DOMAIN: addresses are derived from an account xpub (BIP32 0/i, EIP-55); both vectors
    #[test]
    fn the_vectors_of_the_account_key_derive_their_addresses() {
        let key = AccountKey::parse(XPUB).expect("vector");
        assert_eq!(key.address(0).expect("derives").to_string(), FIRST);
        assert_eq!(key.address(1).expect("derives").to_string(), "0x6Fac4D18c912343BF86fa7049364Dd4E424Ab9C0");
    }

    #[test]
    fn neither_a_broken_key_nor_a_hardened_index_derives_anything() {
        assert_eq!(AccountKey::parse(&XPUB.replace('6', "7")).err(), Some(AddressError::Key));
        assert_eq!(AccountKey::parse("").err(), Some(AddressError::Key));
        let key = AccountKey::parse(XPUB).expect("vector");
        assert_eq!(key.address(1 << 31).err(), Some(AddressError::Index));
    }

    #[test]
    fn a_wrong_checksum_is_refused_and_one_case_alone_has_none() {
        let address = Address::parse(FIRST).expect("vector");
        assert_eq!(Address::parse(&address.to_lower()), Ok(address));
        assert_eq!(Address::parse(&FIRST.replace("Ef", "eF")), Err(AddressError::Checksum));
        for text in ["", "0x", &FIRST[..41], &FIRST[2..], "0xzz58EfFD232B4033E47d90003D41EC34EcaEda94"] {
            assert_eq!(Address::parse(text), Err(AddressError::Shape), "{text:?}");
        }
    }

    #[test]
    fn a_log_word_is_an_address_only_when_its_padding_is_zero() {
        let address = Address::parse(FIRST).expect("vector");
        let word = format!("0x{}{}", "0".repeat(24), &address.to_lower()[2..]);
        assert_eq!(Address::of_word(&word), Some(address));
        assert_eq!(Address::of_word(&word.replacen("0x0", "0x1", 1)), None);
        assert_eq!(Address::of_word("0x12"), None);
    }

    #[test]
    fn the_link_for_wallets_names_chain_and_amount() {
        let address = Address::parse(FIRST).expect("vector");
        let link = |code: &str| {
            let asset = Asset::parse(code).expect("listed");
            address.payment_uri(asset.on(31337).expect("placed"), Money::new(asset, Amount::new(7)))
        };
        assert_eq!(link("ETH"), format!("ethereum:{FIRST}@31337?value=7"));
        let contract = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
        assert_eq!(link("USDC"), format!("ethereum:{contract}@31337/transfer?address={FIRST}&uint256=7"));
    }
}
