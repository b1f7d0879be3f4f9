//! Cutting text between its characters.

/// The longest head of the text of at most so many bytes. (Rust 1.91 has `floor_char_boundary`.)
pub(crate) fn head(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Leaves that head of it; whether anything went.
pub(crate) fn cut(text: &mut String, bytes_max: usize) -> bool {
    let end = head(text, bytes_max).len();
    let cut = end < text.len();
    text.truncate(end);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_characters() {
        for (bytes, expected) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "aé"),
            (6, "aé"),
            (7, "aé😀"),
            (9, "aé😀"),
        ] {
            assert_eq!(head("aé😀", bytes), expected);
            let mut text = "aé😀".to_owned();
            assert_eq!(cut(&mut text, bytes), bytes < 7);
            assert_eq!(text, expected);
        }
    }
}
