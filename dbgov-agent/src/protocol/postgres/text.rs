//! Stand-in for the decoding of client encodings.

use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct ClientEncoding {
    name: Arc<str>,
}

impl ClientEncoding {
    pub fn utf8() -> Self {
        ClientEncoding {
            name: "UTF8".into(),
        }
    }

    pub fn from_name(name: &str) -> Self {
        ClientEncoding { name: name.into() }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn is_utf8(&self) -> bool {
        &*self.name == "UTF8"
    }

    pub fn decode(&self, bytes: &[u8]) -> (String, bool) {
        let text = String::from_utf8_lossy(bytes);
        let lossy = matches!(text, std::borrow::Cow::Owned(_));
        (text.into_owned(), lossy)
    }

    pub fn decode_head(&self, bytes: &[u8]) -> (String, bool) {
        match std::str::from_utf8(bytes) {
            Err(e) if e.error_len().is_none() => self.decode(&bytes[..e.valid_up_to()]),
            _ => self.decode(bytes),
        }
    }
}
