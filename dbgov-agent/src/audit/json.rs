//! Canonical JSON (RFC 8785) by hand, for what stands in every statement's record: the bytes are those serde_json
//! writes, which the tests compare, in a fraction of its time.

use super::record::JSON_INTEGER_MAX;

/// An object in the making. The caller puts its members in canonical order.
pub(crate) struct Object<'a> {
    json: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    pub(crate) fn open(json: &'a mut Vec<u8>) -> Self {
        json.push(b'{');
        Object { json }
    }

    pub(crate) fn close(self) {
        self.json.push(b'}');
    }

    pub(crate) fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        write_text(self.json, value);
    }

    pub(crate) fn optional_text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// At most [`JSON_INTEGER_MAX`].
    pub(crate) fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        write_number(self.json, value.min(JSON_INTEGER_MAX));
    }

    pub(crate) fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key);
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.json.extend_from_slice(word);
    }

    /// A flag that is absent unless set.
    pub(crate) fn flag_if_set(&mut self, key: &'static str, value: bool) {
        if value {
            self.flag(key, true);
        }
    }

    /// A list that is absent where it is empty; `None` is null.
    pub(crate) fn texts<'t>(
        &mut self,
        key: &'static str,
        items: impl ExactSizeIterator<Item = Option<&'t str>>,
    ) {
        if items.len() == 0 {
            return;
        }
        self.key(key);
        let mut before = b'[';
        for item in items {
            self.json.push(before);
            before = b',';
            match item {
                Some(text) => write_text(self.json, text),
                None => self.json.extend_from_slice(b"null"),
            }
        }
        self.json.push(b']');
    }

    /// A member that is an object. The caller closes it.
    pub(crate) fn object(&mut self, key: &'static str) -> Object<'_> {
        self.key(key);
        Object::open(self.json)
    }

    /// A text under a key that came from outside.
    pub(crate) fn entry(&mut self, key: &str, value: &str) {
        self.separate();
        write_text(self.json, key);
        self.json.push(b':');
        write_text(self.json, value);
    }

    fn separate(&mut self) {
        // No value ends with this: the member is the first one.
        if self.json.last() != Some(&b'{') {
            self.json.push(b',');
        }
    }

    fn key(&mut self, key: &'static str) {
        self.separate();
        self.json.push(b'"');
        self.json.extend_from_slice(key.as_bytes());
        self.json.extend_from_slice(b"\":");
    }
}

pub(crate) fn write_number(json: &mut Vec<u8>, value: u64) {
    json.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Bytes looked at together; the compiler makes a few vector instructions of it.
const CHUNK_BYTES: usize = 32;

/// A string as section 3.2.2.2 wants it: of all that may be escaped, only what must be.
fn write_text(json: &mut Vec<u8>, text: &str) {
    json.reserve(text.len() + 2);
    json.push(b'"');
    for chunk in text.as_bytes().chunks(CHUNK_BYTES) {
        // No early exit, so that it is done on the whole chunk at once.
        let escapes = chunk
            .iter()
            .fold(false, |found, byte| found | escapes(*byte));
        if escapes {
            chunk.iter().for_each(|byte| write_byte(json, *byte));
        } else {
            json.extend_from_slice(chunk);
        }
    }
    json.push(b'"');
}

fn escapes(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_byte(json: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        0..0x20 => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            json.extend_from_slice(b"\\u00");
            json.extend_from_slice(&digits);
            return;
        }
        _ => return json.push(byte),
    };
    json.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut json = Vec::new();
        write_text(&mut json, text);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn every_character_at_every_place_of_a_chunk() {
        let special = (0..=0x7f).filter_map(char::from_u32);
        for character in special.chain(['\u{80}', '\u{2028}', 'é', '😀']) {
            for place in 0..CHUNK_BYTES + 2 {
                let text = format!("{}{character}tail", "x".repeat(place));
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_as_serde_json_writes_it(text in "[\\x00-\\x7fé😀]{0,100}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
