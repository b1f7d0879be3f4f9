//! Text from the wire made fit for one line of a terminal.

use std::fmt::Write as _;

/// Appends `text` so that it neither leaves the line nor speaks to the terminal: white space becomes one space, what
/// controls the terminal or the direction of writing is spelled out. At most `columns_max` columns; a cut shows as `…`.
pub(crate) fn push_visible(out: &mut String, text: &str, columns_max: usize) {
    let mut columns = 0;
    // Where to cut back to so that the ellipsis has room.
    let mut fits = out.len();
    let mut after_space = true;
    let mut piece = String::new();
    for character in text.trim_ascii_end().chars() {
        piece.clear();
        if character.is_whitespace() {
            if after_space {
                continue;
            }
            piece.push(' ');
        } else if is_hostile(character) {
            spell_out(&mut piece, character);
        } else {
            piece.push(character);
        }
        after_space = character.is_whitespace();
        let width = width_columns(&piece);
        if columns + width > columns_max {
            out.truncate(fits);
            if columns_max > 0 {
                out.push('…');
            }
            return;
        }
        columns += width;
        out.push_str(&piece);
        if columns < columns_max {
            fits = out.len();
        }
    }
}

fn spell_out(out: &mut String, character: char) {
    let code = u32::from(character);
    let written = if code < 0x100 {
        write!(out, "\\x{code:02x}")
    } else {
        write!(out, "\\u{{{code:x}}}")
    };
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// Escape sequences begin with these, or they are invisible, or they turn the text around (CVE-2021-42574).
fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Columns of a text on the terminal, never too few: whole blocks with wide characters in them count as wide
/// (Unicode Standard Annex #11), combining characters as one.
pub(crate) fn width_columns(text: &str) -> usize {
    text.chars()
        .map(|character| match character {
            '\u{1100}'..='\u{11ff}' | '\u{2300}'..='\u{2bff}' | '\u{2e80}'.. => 2,
            _ => 1,
        })
        .sum()
}

/// `812 µs`, `12.3 ms`, `1.23 s`, `2m03s`, `1h02m`.
pub(crate) fn duration(us: u64) -> String {
    let s = us / 1_000_000;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        1_000_000..60_000_000 => format!("{s}.{:02} s", us / 10_000 % 100),
        60_000_000..3_600_000_000 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

/// `13 B`, `1.5 KiB`, `64.0 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `1 row`, `3 rows`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(text: &str, columns_max: usize) -> String {
        let mut out = "|".to_owned();
        push_visible(&mut out, text, columns_max);
        out
    }

    #[test]
    fn one_line_whatever_comes() {
        for (text, shown) in [
            ("SELECT\n\t  1\r\n", "|SELECT 1"),
            ("  SELECT 1  ", "|SELECT 1"),
            ("a\u{2028}b\u{85}c\u{a0}d", "|a b c d"),
            (
                "\u{1b}[2J\u{1b}]0;owned\u{7}",
                "|\\x1b[2J\\x1b]0;owned\\x07",
            ),
            ("\u{9b}31m\0\u{7f}", "|\\x9b31m\\x00\\x7f"),
            ("\u{202e}evil\u{200b}", "|\\u{202e}evil\\u{200b}"),
            ("漢字 é 😀", "|漢字 é 😀"),
            ("", "|"),
        ] {
            assert_eq!(visible(text, usize::MAX), shown);
        }
    }

    #[test]
    fn cut_at_every_width() {
        for text in ["SELECT 1", "漢字漢字", "a\u{1b}b\u{1b}c", "é😀é😀"] {
            let whole = visible(text, usize::MAX);
            let columns = width_columns(&whole) - 1;
            for columns_max in 0..columns {
                let shown = visible(text, columns_max);
                assert!(width_columns(&shown) - 1 <= columns_max, "{shown:?}");
                assert_eq!(shown.ends_with('…'), columns_max > 0);
            }
            assert_eq!(visible(text, columns), whole);
        }
    }

    #[test]
    fn units() {
        for (us, shown) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.0 ms"),
            (12_345, "12.3 ms"),
            (999_999, "999.9 ms"),
            (1_234_567, "1.23 s"),
            (59_999_999, "59.99 s"),
            (123_000_000, "2m03s"),
            (3_720_000_000, "1h02m"),
        ] {
            assert_eq!(duration(us), shown);
        }
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(
            (count(1, "row"), count(0, "row")),
            ("1 row".into(), "0 rows".into())
        );
    }
}
