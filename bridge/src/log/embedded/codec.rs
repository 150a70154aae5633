//! A record's headers as the bytes of one column: for each the length and text of its name, then the length and bytes of its
//! value, or a length of -1 where it has none. Lengths are little-endian `i32`.

use bytes::{Buf as _, BufMut as _, Bytes};

use crate::log::Header;

pub(super) fn encode(headers: &[Header]) -> Vec<u8> {
    let mut out = Vec::with_capacity(headers.len() * 32);
    for (name, value) in headers {
        put(&mut out, Some(name.as_bytes()));
        put(&mut out, value.as_deref());
    }
    out
}

/// `None` when the bytes are not what [`encode`] writes.
pub(super) fn decode(mut bytes: Bytes) -> Option<Vec<Header>> {
    let mut headers = Vec::new();
    while bytes.has_remaining() {
        let name = take(&mut bytes)??;
        let value = take(&mut bytes)?;
        headers.push((String::from_utf8(name.to_vec()).ok()?, value));
    }
    Some(headers)
}

fn put(out: &mut Vec<u8>, part: Option<&[u8]>) {
    // Records are refused above 1 MiB, long before a length leaves the range.
    out.put_i32_le(part.map_or(-1, |part| part.len() as i32));
    out.extend_from_slice(part.unwrap_or_default());
}

fn take(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    let length = bytes.try_get_i32_le().ok()?;
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    (length <= bytes.remaining()).then(|| Some(bytes.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let headers: Vec<Header> = vec![
            ("a".into(), Some(Bytes::from_static(b"1"))),
            ("a".into(), None),
            (String::new(), Some(Bytes::new())),
            ("ü".into(), Some(Bytes::from_static(b"\xff\0"))),
        ];
        assert_eq!(decode(encode(&headers).into()), Some(headers));
    }

    #[test]
    fn broken_bytes_are_told_apart() {
        assert_eq!(decode(Bytes::from_static(b"\x09\0\0\0a")), None);
        assert_eq!(decode(Bytes::from_static(b"\x01")), None);
    }
}
