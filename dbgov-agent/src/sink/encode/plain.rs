//! Texts from the wire in formats that are lines of text.

/// What to do about the characters that have a meaning in the format.
pub(super) struct Escaping {
    /// The character, and what is written for it.
    pub(super) escapes: &'static [(char, &'static str)],
}

impl Escaping {
    /// Appends the head of `text` so that it cannot end the value, the event or the line: what controls a terminal or
    /// ends a line for some reader is shown as its picture. At most `bytes_max` bytes of what a reader makes of it.
    pub(super) fn push(&self, out: &mut Vec<u8>, text: &str, bytes_max: usize) {
        let mut bytes_left = bytes_max;
        let mut bytes = [0; 4];
        for character in text.chars() {
            let escape = self
                .escapes
                .iter()
                .find(|(escaped, _)| *escaped == character);
            let shown = escape.map_or_else(|| picture(character), |_| character);
            let Some(left) = bytes_left.checked_sub(shown.len_utf8()) else {
                return;
            };
            bytes_left = left;
            match escape {
                Some((_, written)) => out.extend_from_slice(written.as_bytes()),
                None => out.extend_from_slice(shown.encode_utf8(&mut bytes).as_bytes()),
            }
        }
    }
}

/// Controls have pictures in Unicode (U+2400 and on); readers differ in which of the rest ends a line.
fn picture(character: char) -> char {
    match character {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => '\u{fffd}',
        other => other,
    }
}

/// Tables, verbs: one text of several.
pub(super) fn list<T: AsRef<str>>(items: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(item.as_ref());
    }
    text
}
