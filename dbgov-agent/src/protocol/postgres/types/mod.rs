//! Stand-in for the text form of parameters.

use super::text::ClientEncoding;

pub fn text_param(bytes: &[u8], encoding: &ClientEncoding) -> String {
    encoding.decode(bytes).0
}

pub fn binary_param(type_oid: u32, bytes: &[u8], encoding: &ClientEncoding) -> String {
    match (type_oid, bytes) {
        (25, _) => text_param(bytes, encoding),
        (23, &[a, b, c, d]) => i32::from_be_bytes([a, b, c, d]).to_string(),
        _ => format!("\\x{}", hex::encode(bytes)),
    }
}
