//! What a string token stands for (documentation 4.1.2).

use super::lexer::{self, Kind, Token};
use super::name;

/// The text of a string token as the server knows it, its parts on several lines joined. `U&'...'` escapes are decoded
/// with `uescape`; bytes that an `E'...'` spells out and that make no UTF-8 are replaced.
pub(crate) fn value(token: Token, text: &str, uescape: char) -> String {
    let written = token.text(text);
    match token.kind {
        Kind::DollarString => dollar(written).to_owned(),
        Kind::UnicodeString => name::decode_unicode(&quoted(written, false), uescape),
        kind => quoted(written, kind == Kind::EscapeString),
    }
}

fn dollar(written: &str) -> &str {
    let tag = 1
        + written
            .bytes()
            .skip(1)
            .position(|byte| byte == b'$')
            .unwrap_or(0)
        + 1;
    let end = written.len().saturating_sub(tag).max(tag);
    written.get(tag..end).unwrap_or("")
}

fn quoted(written: &str, escapes: bool) -> String {
    let bytes = written.as_bytes();
    let mut value = Vec::with_capacity(bytes.len());
    let open = bytes.iter().position(|&byte| byte == b'\'').unwrap_or(0);
    let mut at = open + 1;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\'' if bytes.get(at) == Some(&b'\'') => {
                value.push(b'\'');
                at += 1;
            }
            b'\'' => match lexer::continuation(bytes, at) {
                Some(quote) => at = quote + 1,
                None => break,
            },
            b'\\' if escapes => at = escape(bytes, at, &mut value),
            _ => value.push(byte),
        }
    }
    match String::from_utf8(value) {
        Ok(value) => value,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// The escape behind the backslash that ends at `at` (4.1.2.2); the place behind it.
fn escape(bytes: &[u8], at: usize, value: &mut Vec<u8>) -> usize {
    let Some(&letter) = bytes.get(at) else {
        return at;
    };
    let digits = |from: usize, radix: u32, max: usize| -> (u32, usize) {
        let digits = bytes[from..]
            .iter()
            .take(max)
            .map_while(|&byte| char::from(byte).to_digit(radix));
        digits.fold((0, from), |(value, at), digit| {
            (value * radix + digit, at + 1)
        })
    };
    let (code, end) = match letter {
        b'0'..=b'7' => digits(at, 8, 3),
        b'x' => digits(at + 1, 16, 2),
        b'u' => digits(at + 1, 16, 4),
        b'U' => digits(at + 1, 16, 8),
        _ => (0, at + 1),
    };
    match letter {
        b'b' => value.push(0x08),
        b'f' => value.push(0x0c),
        b'n' => value.push(b'\n'),
        b'r' => value.push(b'\r'),
        b't' => value.push(b'\t'),
        // No digits behind: the letter itself.
        b'x' | b'u' | b'U' if end == at + 1 => value.push(letter),
        b'u' | b'U' => {
            let (code, end) = join_surrogates(bytes, code, end);
            let decoded = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            value.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
            return end;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the server takes the low byte"
        )]
        b'x' | b'0'..=b'7' => value.push(code as u8),
        _ => value.push(letter),
    }
    end
}

/// `\ud83d\ude00` is one character.
fn join_surrogates(bytes: &[u8], high: u32, end: usize) -> (u32, usize) {
    let low = bytes
        .get(end..end + 6)
        .filter(|low| low.starts_with(b"\\u"))
        .and_then(|low| std::str::from_utf8(&low[2..]).ok())
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .filter(|low| (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(low));
    match low {
        Some(low) => (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), end + 6),
        None => (high, end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::Lexer;
    use crate::sql::name::UESCAPE_DEFAULT;

    #[test]
    fn strings_are_what_the_server_reads() {
        for (text, expected) in [
            ("'it''s'", "it's"),
            (r"'a\n'", r"a\n"),
            (r"E'a\n\'b\\\x41\101\u0041\U00000041\q'", "a\n'b\\AAAAq"),
            (r"E'\ud83d\ude00\xc3\xa9'", "😀é"),
            (r"E'\x'", "x"),
            ("'a'  \n 'b'", "ab"),
            ("'a' -- c\n\n-- d\n'b'", "ab"),
            ("E'a'\n'\\'b'", "a'b"),
            ("$x$a$$b$x$", "a$$b"),
            ("U&'\\0061'", "a"),
            ("N'n'", "n"),
        ] {
            let tokens: Vec<Token> = Lexer::new(text).collect();
            assert_eq!(tokens.len(), 1, "{text}");
            assert_eq!(value(tokens[0], text, UESCAPE_DEFAULT), expected, "{text}");
        }
        let apart = "'a' 'b'";
        assert_eq!(Lexer::new(apart).count(), 2);
    }
}
