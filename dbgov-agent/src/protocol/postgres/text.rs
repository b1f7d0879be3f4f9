//! Client encodings to UTF-8 (PostgreSQL documentation, 24.3 "Character Set Support").

use std::borrow::Cow;
use std::sync::Arc;

use encoding_rs::{self as rs, Encoding};

use crate::chars;

/// PostgreSQL cuts names (`NAMEDATALEN` - 1); no known encoding has a longer one, so more need not be kept.
const NAME_BYTES_MAX: usize = 63;

/// How bytes of an encoding become characters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decoder {
    Utf8,
    /// ISO 8859-1 exactly: every byte is the code point of its value. encoding_rs means windows-1252 by that name.
    Latin1,
    /// ISO 8859-9: Latin-1 but for six letters. encoding_rs means windows-1254 by that name.
    Latin5,
    Rs(&'static Encoding),
    /// No table for it: ASCII is kept, any other character is U+FFFD.
    Unmapped(Lead),
}

/// How many bytes a character takes, told by its first byte, where that byte is not ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// Only bytes with the high bit set follow, so that each ASCII byte stands for itself.
    HighBit,
    /// JOHAB: the second byte may look like ASCII.
    Johab,
    /// SHIFT_JIS_2004: the second byte may look like ASCII; 0xA1 to 0xDF stand alone.
    ShiftJis,
}

/// The official names and how to decode them. Encodings that contain each other share a decoder (UHC holds EUC_KR,
/// GBK holds EUC_CN): a server that checks its input never lets the difference in. Compared with PostgreSQL's own tables,
/// the single-byte ones are the same but for two letters of KOI8U; of the others BIG5 differs in 2 % (compatibility
/// forms, Hong Kong's additions), UHC and GB18030 in private-use characters, EUC_CN and EUC_KR in three signs.
const ENCODINGS: &[(&str, Decoder)] = &[
    ("SQL_ASCII", Decoder::Utf8),
    ("UTF8", Decoder::Utf8),
    ("LATIN1", Decoder::Latin1),
    ("LATIN2", Decoder::Rs(rs::ISO_8859_2)),
    ("LATIN3", Decoder::Rs(rs::ISO_8859_3)),
    ("LATIN4", Decoder::Rs(rs::ISO_8859_4)),
    ("LATIN5", Decoder::Latin5),
    ("LATIN6", Decoder::Rs(rs::ISO_8859_10)),
    ("LATIN7", Decoder::Rs(rs::ISO_8859_13)),
    ("LATIN8", Decoder::Rs(rs::ISO_8859_14)),
    ("LATIN9", Decoder::Rs(rs::ISO_8859_15)),
    ("LATIN10", Decoder::Rs(rs::ISO_8859_16)),
    ("ISO_8859_5", Decoder::Rs(rs::ISO_8859_5)),
    ("ISO_8859_6", Decoder::Rs(rs::ISO_8859_6)),
    ("ISO_8859_7", Decoder::Rs(rs::ISO_8859_7)),
    ("ISO_8859_8", Decoder::Rs(rs::ISO_8859_8)),
    ("WIN866", Decoder::Rs(rs::IBM866)),
    ("WIN874", Decoder::Rs(rs::WINDOWS_874)),
    ("WIN1250", Decoder::Rs(rs::WINDOWS_1250)),
    ("WIN1251", Decoder::Rs(rs::WINDOWS_1251)),
    ("WIN1252", Decoder::Rs(rs::WINDOWS_1252)),
    ("WIN1253", Decoder::Rs(rs::WINDOWS_1253)),
    ("WIN1254", Decoder::Rs(rs::WINDOWS_1254)),
    ("WIN1255", Decoder::Rs(rs::WINDOWS_1255)),
    ("WIN1256", Decoder::Rs(rs::WINDOWS_1256)),
    ("WIN1257", Decoder::Rs(rs::WINDOWS_1257)),
    ("WIN1258", Decoder::Rs(rs::WINDOWS_1258)),
    ("KOI8R", Decoder::Rs(rs::KOI8_R)),
    ("KOI8U", Decoder::Rs(rs::KOI8_U)),
    ("EUC_JP", Decoder::Rs(rs::EUC_JP)),
    ("EUC_CN", Decoder::Rs(rs::GBK)),
    ("EUC_KR", Decoder::Rs(rs::EUC_KR)),
    ("EUC_TW", Decoder::Unmapped(Lead::HighBit)),
    ("EUC_JIS_2004", Decoder::Unmapped(Lead::HighBit)),
    ("SJIS", Decoder::Rs(rs::SHIFT_JIS)),
    ("SHIFT_JIS_2004", Decoder::Unmapped(Lead::ShiftJis)),
    ("BIG5", Decoder::Rs(rs::BIG5)),
    ("GBK", Decoder::Rs(rs::GBK)),
    ("GB18030", Decoder::Rs(rs::GB18030)),
    ("UHC", Decoder::Rs(rs::EUC_KR)),
    ("JOHAB", Decoder::Unmapped(Lead::Johab)),
    ("MULE_INTERNAL", Decoder::Unmapped(Lead::HighBit)),
];

/// Other names the server takes, as [`key`]s, with the official one (table 24.2 of the documentation, and the
/// undocumented ones it has kept for old clients).
const ALIASES: &[(&str, &str)] = &[
    ("unicode", "UTF8"),
    ("iso88591", "LATIN1"),
    ("iso88592", "LATIN2"),
    ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"),
    ("iso88599", "LATIN5"),
    ("iso885910", "LATIN6"),
    ("iso885913", "LATIN7"),
    ("iso885914", "LATIN8"),
    ("iso885915", "LATIN9"),
    ("iso885916", "LATIN10"),
    ("alt", "WIN866"),
    ("windows866", "WIN866"),
    ("windows874", "WIN874"),
    ("windows1250", "WIN1250"),
    ("win", "WIN1251"),
    ("windows1251", "WIN1251"),
    ("windows1252", "WIN1252"),
    ("windows1253", "WIN1253"),
    ("windows1254", "WIN1254"),
    ("windows1255", "WIN1255"),
    ("windows1256", "WIN1256"),
    ("windows1257", "WIN1257"),
    ("abc", "WIN1258"),
    ("tcvn", "WIN1258"),
    ("tcvn5712", "WIN1258"),
    ("vscii", "WIN1258"),
    ("windows1258", "WIN1258"),
    ("koi8", "KOI8R"),
    ("mskanji", "SJIS"),
    ("shiftjis", "SJIS"),
    ("win932", "SJIS"),
    ("windows932", "SJIS"),
    ("win936", "GBK"),
    ("windows936", "GBK"),
    ("win949", "UHC"),
    ("windows949", "UHC"),
    ("win950", "BIG5"),
    ("windows950", "BIG5"),
];

/// The encoding of the texts of a session (`client_encoding`).
#[derive(Debug, Clone, PartialEq)]
pub struct ClientEncoding {
    name: Arc<str>,
    decoder: Decoder,
}

impl ClientEncoding {
    pub fn utf8() -> Self {
        ClientEncoding {
            name: Arc::from("UTF8"),
            decoder: Decoder::Utf8,
        }
    }

    /// By the name a ParameterStatus reports or a client asks for. Case and anything but letters and digits do not
    /// matter, as in `pg_char_to_encoding`. A name the server would refuse is kept, and only ASCII is believed then.
    pub fn from_name(name: &str) -> Self {
        let key = key(name);
        let official = ALIASES
            .iter()
            .find(|(alias, _)| *alias == key)
            .map(|(_, official)| *official);
        let known = ENCODINGS.iter().find(|(encoding, _)| match official {
            Some(official) => *encoding == official,
            None => self::key(encoding) == key,
        });
        let (name, decoder) = match known {
            Some((name, decoder)) => (*name, *decoder),
            None => (
                chars::head(name, NAME_BYTES_MAX),
                Decoder::Unmapped(Lead::HighBit),
            ),
        };
        ClientEncoding {
            name: Arc::from(name),
            decoder,
        }
    }

    /// PostgreSQL's official name, as `SHOW client_encoding` writes it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it is UTF8 by name; SQL_ASCII is not, though it is read as such.
    pub fn is_utf8(&self) -> bool {
        &*self.name == "UTF8"
    }

    /// The text, and whether something in it was no valid text and became U+FFFD.
    pub fn decode(&self, bytes: &[u8]) -> (String, bool) {
        self.decode_part(bytes, true)
    }

    /// As [`Self::decode`], for the head of a longer text: a character the cut went through is dropped, and is no loss.
    pub fn decode_head(&self, bytes: &[u8]) -> (String, bool) {
        self.decode_part(bytes, false)
    }

    fn decode_part(&self, bytes: &[u8], is_whole: bool) -> (String, bool) {
        match self.decoder {
            Decoder::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => (text.to_owned(), false),
                Err(_) => decode_with(rs::UTF_8, bytes, is_whole),
            },
            Decoder::Latin1 => (rs::mem::decode_latin1(bytes).into_owned(), false),
            Decoder::Latin5 => (bytes.iter().map(|byte| latin5(*byte)).collect(), false),
            Decoder::Rs(encoding) => decode_with(encoding, bytes, is_whole),
            Decoder::Unmapped(lead) => decode_ascii(lead, bytes, is_whole),
        }
    }
}

/// What is compared of a name: its letters and digits, in lower case.
fn key(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    {
        return Cow::Borrowed(name);
    }
    let key = name.chars().filter(char::is_ascii_alphanumeric);
    // One more than the longest name, so that nothing longer can equal it.
    Cow::Owned(
        key.take(NAME_BYTES_MAX + 1)
            .map(|c| c.to_ascii_lowercase())
            .collect(),
    )
}

fn decode_with(encoding: &'static Encoding, bytes: &[u8], is_whole: bool) -> (String, bool) {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let bytes_max = decoder.max_utf8_buffer_length(bytes.len());
    let mut text = String::with_capacity(bytes_max.unwrap_or(bytes.len()));
    // An incomplete last character stays inside the decoder when it is told that more may come.
    let (_, _, lossy) = decoder.decode_to_string(bytes, &mut text, is_whole);
    (text, lossy)
}

fn latin5(byte: u8) -> char {
    match byte {
        0xD0 => 'Ğ',
        0xDD => 'İ',
        0xDE => 'Ş',
        0xF0 => 'ğ',
        0xFD => 'ı',
        0xFE => 'ş',
        other => char::from(other),
    }
}

fn decode_ascii(lead: Lead, bytes: &[u8], is_whole: bool) -> (String, bool) {
    let mut text = String::with_capacity(bytes.len());
    let mut lossy = false;
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let is_pair = match lead {
            _ if first.is_ascii() => false,
            Lead::HighBit => false,
            Lead::Johab => true,
            Lead::ShiftJis => !(0xA1..=0xDF).contains(first),
        };
        if is_pair && tail.is_empty() && !is_whole {
            break;
        }
        if first.is_ascii() {
            text.push(char::from(*first));
        } else {
            text.push(char::REPLACEMENT_CHARACTER);
            lossy = true;
        }
        rest = tail.get(usize::from(is_pair)..).unwrap_or_default();
    }
    (text, lossy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(encoding: &str, bytes: &[u8], text: &str, lossy: bool) {
        let encoding = ClientEncoding::from_name(encoding);
        assert_eq!(encoding.decode(bytes), (text.to_owned(), lossy));
    }

    #[test]
    fn names_are_compared_as_the_server_does() {
        for (asked, name) in [
            ("utf-8", "UTF8"),
            ("UNICODE", "UTF8"),
            ("'utf8'", "UTF8"),
            ("iso-8859-1", "LATIN1"),
            ("ISO_8859_5", "ISO_8859_5"),
            ("iso88596", "ISO_8859_6"),
            ("Windows-1252", "WIN1252"),
            ("euc-jis-2004", "EUC_JIS_2004"),
            ("sql_ascii", "SQL_ASCII"),
            ("koi8", "KOI8R"),
            ("no such thing", "no such thing"),
        ] {
            assert_eq!(&**ClientEncoding::from_name(asked).name(), name, "{asked}");
        }
        assert!(ClientEncoding::from_name("Unicode").is_utf8());
        assert!(!ClientEncoding::from_name("SQL_ASCII").is_utf8());
        assert_eq!(ClientEncoding::utf8(), ClientEncoding::from_name("UTF8"));
    }

    #[test]
    fn every_alias_leads_to_an_encoding() {
        for (alias, official) in ALIASES {
            assert_eq!(&*key(alias), *alias);
            assert!(
                ENCODINGS.iter().any(|(name, _)| name == official),
                "{alias}"
            );
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = "é".repeat(100);
        assert_eq!(ClientEncoding::from_name(&name).name().len(), 62);
    }

    #[test]
    fn texts_become_utf8() {
        check("UTF8", "Grüße".as_bytes(), "Grüße", false);
        check("UTF8", b"a\xFFb", "a\u{FFFD}b", true);
        check("UTF8", b"\xEF\xBB\xBFa", "\u{FEFF}a", false);
        check("SQL_ASCII", b"\xC3\xA9\xE9", "é\u{FFFD}", true);
        check("LATIN1", b"\x80\xA4\xE9", "\u{80}¤é", false);
        check("WIN1252", b"\x80\xE9", "€é", false);
        check("LATIN9", b"\xA4", "€", false);
        check("LATIN5", b"\x80\xDD\xFE\xE9", "\u{80}İşé", false);
        check("LATIN2", b"\xB1", "ą", false);
        check("KOI8R", b"\xD0\xD2\xC9", "при", false);
        check("WIN1251", b"\xEF\xF0\xE8", "при", false);
        check("ISO_8859_5", b"\xDF\xE0\xD8", "при", false);
        check("SJIS", b"\x93\xFA\x96\x7B\x5C", "日本\\", false);
        check("EUC_JP", b"\xC6\xFC\xCB\xDC", "日本", false);
        check("EUC_KR", b"\xC7\xD1", "한", false);
        check("UHC", b"\x81\x41", "갂", false);
        check("BIG5", b"\xA4\xA4", "中", false);
        check("EUC_CN", b"\xD6\xD0", "中", false);
        check("GB18030", b"\x94\x39\xDA\x33", "💩", false);
    }

    #[test]
    fn what_has_no_table_keeps_its_ascii() {
        check("EUC_TW", b"a\xC4\xE3b", "a\u{FFFD}\u{FFFD}b", true);
        check("JOHAB", b"a\x88\x41b", "a\u{FFFD}b", true);
        check(
            "SHIFT_JIS_2004",
            b"\xB1\x95\x5Cx",
            "\u{FFFD}\u{FFFD}x",
            true,
        );
        check("MULE_INTERNAL", b"plain", "plain", false);
    }

    #[test]
    fn a_cut_character_is_dropped_and_no_loss() {
        for (name, bytes) in [
            ("UTF8", &b"a\xE2\x82"[..]),
            ("SQL_ASCII", b"a\xE2\x82"),
            ("SJIS", b"a\x93"),
            ("GB18030", b"a\x94\x39\xDA"),
            ("JOHAB", b"a\x88"),
            ("SHIFT_JIS_2004", b"a\x95"),
        ] {
            let encoding = ClientEncoding::from_name(name);
            assert_eq!(
                encoding.decode_head(bytes),
                ("a".to_owned(), false),
                "{name}"
            );
            let (whole, lossy) = encoding.decode(bytes);
            assert!(lossy && whole.starts_with("a\u{FFFD}"), "{name}");
        }
        let utf8 = ClientEncoding::utf8();
        assert_eq!(utf8.decode_head(b"\xFFa").0, "\u{FFFD}a");
    }

    proptest! {
        #[test]
        fn any_bytes_decode(index in 0..ENCODINGS.len(), bytes: Vec<u8>) {
            let encoding = ClientEncoding::from_name(ENCODINGS[index].0);
            let (whole, lossy) = encoding.decode(&bytes);
            let (head, head_lossy) = encoding.decode_head(&bytes);
            prop_assert!(whole.starts_with(&head));
            prop_assert!(lossy || !head_lossy);
            prop_assert!(!lossy || whole.contains(char::REPLACEMENT_CHARACTER));
        }
    }
}
