//! Reads a line that may have been written by anybody: it must be one JSON object in the canonical form of RFC 8785, as
//! dbgov writes it, so that there are no two ways to understand it. One pass, nothing allocated.

use super::line::HASH_HEX_BYTES;
use super::record::JSON_INTEGER_MAX;

/// Objects within objects: a record has five.
const DEPTH_MAX: u32 = 16;

/// Why a line is not in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCanonical {
    #[error("it is not UTF-8")]
    Utf8,
    #[error("it is not canonical JSON at byte {0}")]
    Syntax(usize),
    #[error("its keys are not in order, or one is there twice, at byte {0}")]
    Keys(usize),
    #[error("it has a number beyond 2^53 - 1 at byte {0}")]
    Number(usize),
    #[error("it is nested too deeply at byte {0}")]
    Depth(usize),
    #[error("its member {0:?} is missing or not what it should be")]
    Member(&'static str),
}

/// The members of a record that make the chain; the texts are as they stand in the line, quotation marks not included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) seq: u64,
    pub(crate) v: u64,
    pub(crate) kind: &'a str,
    pub(crate) node: &'a str,
    pub(crate) time: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) prev: &'a str,
    /// Where the member `chain` has its value.
    pub(crate) chain_at: usize,
    /// The member that is named as the kind is, as JSON.
    pub(crate) block: Option<&'a str>,
    /// The member `gap`, as JSON.
    pub(crate) gap: Option<&'a str>,
}

impl<'a> Head<'a> {
    pub(crate) fn read(line: &'a [u8]) -> Result<Self, NotCanonical> {
        let text = std::str::from_utf8(line).map_err(|_| NotCanonical::Utf8)?;
        let mut found = Found::default();
        let mut scanner = Scanner { text, at: 0 };
        scanner.object(DEPTH_MAX, |key, from, to| {
            found.take(key, &text[from..to], from)
        })?;
        if scanner.at != text.len() {
            return Err(NotCanonical::Syntax(scanner.at));
        }
        found.head()
    }
}

#[derive(Default)]
struct Found<'a> {
    chain: Option<(&'a str, usize)>,
    seq: Option<&'a str>,
    v: Option<&'a str>,
    kind: Option<&'a str>,
    node: Option<&'a str>,
    time: Option<&'a str>,
    checkpoint: Option<&'a str>,
    segment: Option<&'a str>,
    gap: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn take(&mut self, key: &str, value: &'a str, at: usize) {
        let member = match key {
            "chain" => {
                self.chain = Some((value, at));
                return;
            }
            "seq" => &mut self.seq,
            "v" => &mut self.v,
            "kind" => &mut self.kind,
            "node" => &mut self.node,
            "time" => &mut self.time,
            "checkpoint" => &mut self.checkpoint,
            "segment" => &mut self.segment,
            "gap" => &mut self.gap,
            _ => return,
        };
        *member = Some(value);
    }

    fn head(self) -> Result<Head<'a>, NotCanonical> {
        let (chain, chain_at) = self.chain.ok_or(NotCanonical::Member("chain"))?;
        let (hash, prev) = hashes(chain).ok_or(NotCanonical::Member("chain"))?;
        let kind = string(self.kind).ok_or(NotCanonical::Member("kind"))?;
        Ok(Head {
            seq: number(self.seq).ok_or(NotCanonical::Member("seq"))?,
            v: number(self.v).ok_or(NotCanonical::Member("v"))?,
            node: string(self.node).ok_or(NotCanonical::Member("node"))?,
            time: string(self.time).ok_or(NotCanonical::Member("time"))?,
            kind,
            hash,
            prev,
            chain_at,
            block: match kind {
                "checkpoint" => self.checkpoint,
                "segment" => self.segment,
                _ => None,
            },
            gap: self.gap,
        })
    }
}

/// The values of `{"hash":"…","prev":"…"}`, of which nothing else may stand in `chain`.
fn hashes(chain: &str) -> Option<(&str, &str)> {
    let (hash, rest) = chain
        .strip_prefix("{\"hash\":\"")?
        .split_at_checked(HASH_HEX_BYTES)?;
    let (prev, end) = rest
        .strip_prefix("\",\"prev\":\"")?
        .split_at_checked(HASH_HEX_BYTES)?;
    let is_hex = |text: &str| {
        text.bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    (end == "\"}" && is_hex(hash) && is_hex(prev)).then_some((hash, prev))
}

fn string(value: Option<&str>) -> Option<&str> {
    value?.strip_prefix('"')?.strip_suffix('"')
}

fn number(value: Option<&str>) -> Option<u64> {
    value?.parse().ok()
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What ends the plain part of a string.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

impl<'a> Scanner<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotCanonical> {
        if self.byte() != Some(byte) {
            return Err(NotCanonical::Syntax(self.at));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips `byte` where it comes next.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: u32) -> Result<(), NotCanonical> {
        match self.byte() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.object(depth, |_, _, _| ()),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            _ => self.word(),
        }
    }

    /// Tells each member: its key as it stands there, and where its value begins and ends.
    fn object(
        &mut self,
        depth: u32,
        mut member: impl FnMut(&'a str, usize, usize),
    ) -> Result<(), NotCanonical> {
        let depth = depth.checked_sub(1).ok_or(NotCanonical::Depth(self.at))?;
        self.expect(b'{')?;
        if self.skip(b'}') {
            return Ok(());
        }
        let mut before: Option<&str> = None;
        loop {
            let key_at = self.at;
            let key = self.string()?;
            if before.is_some_and(|before| !is_behind(before, key)) {
                return Err(NotCanonical::Keys(key_at));
            }
            before = Some(key);
            self.expect(b':')?;
            let from = self.at;
            self.value(depth)?;
            member(key, from, self.at);
            if !self.skip(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), NotCanonical> {
        let depth = depth.checked_sub(1).ok_or(NotCanonical::Depth(self.at))?;
        self.expect(b'[')?;
        if self.skip(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if !self.skip(b',') {
                return self.expect(b']');
            }
        }
    }

    /// The string's content as it stands there.
    fn string(&mut self) -> Result<&'a str, NotCanonical> {
        self.expect(b'"')?;
        let from = self.at;
        let bytes = self.text.as_bytes();
        loop {
            while bytes
                .get(self.at)
                .is_some_and(|byte| !SPECIAL[usize::from(*byte)])
            {
                self.at += 1;
            }
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[from..self.at - 1]);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(NotCanonical::Syntax(self.at)),
            }
        }
    }

    /// RFC 8785 section 3.2.2.2: of all ways to escape, one.
    fn escape(&mut self) -> Result<(), NotCanonical> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let bytes = match rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            // What has a short form is written in it.
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return Err(NotCanonical::Syntax(self.at)),
        };
        self.at += bytes;
        Ok(())
    }

    fn integer(&mut self) -> Result<(), NotCanonical> {
        let from = self.at;
        let is_negative = self.skip(b'-');
        let digits_at = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = &self.text[digits_at..self.at];
        // No sign before a zero, and no zero before another digit.
        let is_plain = match digits {
            "" => false,
            "0" => !is_negative,
            _ => !digits.starts_with('0'),
        };
        if !is_plain {
            return Err(NotCanonical::Syntax(from));
        }
        match digits.parse::<u64>() {
            Ok(number) if number <= JSON_INTEGER_MAX => Ok(()),
            _ => Err(NotCanonical::Number(from)),
        }
    }

    fn word(&mut self) -> Result<(), NotCanonical> {
        let rest = &self.text[self.at..];
        let word = ["true", "false", "null"]
            .into_iter()
            .find(|word| rest.starts_with(word))
            .ok_or(NotCanonical::Syntax(self.at))?;
        self.at += word.len();
        Ok(())
    }
}

/// Whether a key sorts behind another, both as they stand in the line.
fn is_behind(before: &str, key: &str) -> bool {
    let is_plain = |text: &str| text.is_ascii() && !text.contains('\\');
    if is_plain(before) && is_plain(key) {
        return before < key;
    }
    let decode = |text: &str| serde_json::from_str::<String>(&format!("\"{text}\""));
    let (Ok(before), Ok(key)) = (decode(before), decode(key)) else {
        return false;
    };
    // RFC 8785 sorts by UTF-16 units, and our maps by characters, which differs beyond U+D7FF only.
    before < key || before.encode_utf16().lt(key.encode_utf16())
}

#[cfg(test)]
mod tests {
    use super::super::line::LineEncoder;
    use super::super::{jcs, samples};
    use super::*;

    fn whole(text: &str) -> Result<(), NotCanonical> {
        let mut scanner = Scanner { text, at: 0 };
        scanner.value(DEPTH_MAX)?;
        match scanner.at == text.len() {
            true => Ok(()),
            false => Err(NotCanonical::Syntax(scanner.at)),
        }
    }

    #[test]
    fn all_we_write_is_canonical_and_read_back() {
        let mut encoder = LineEncoder::new("host-1 \"é\u{1}\"");
        let mut line = Vec::new();
        for record in samples::everything() {
            let hash = encoder.encode(&record, &mut line).unwrap();
            let text = line.strip_suffix(b"\n").unwrap();
            let head = Head::read(text).unwrap();
            assert_eq!(head.hash, hash.as_str());
            assert_eq!(head.prev, encoder.last_hash().as_str());
            encoder.accept(hash);
            assert_eq!((head.seq, head.v), (encoder.last_seq(), 1));
            assert_eq!(head.kind, record.kind.name());
            assert_eq!(head.node, "host-1 \\\"é\\u0001\\\"");
            assert_eq!(head.gap.is_some(), record.gap.is_some());
            let has_block = record.checkpoint.is_some() || record.segment.is_some();
            assert_eq!(head.block.is_some(), has_block);
            assert!(text[head.chain_at..].starts_with(b"{\"hash\":\""));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "{}",
            "[]",
            "0",
            "-1",
            "9007199254740991",
            "true",
            "null",
            "\"\"",
            "\"é😀\u{7f}\"",
            r#""\"\\\b\t\n\f\r\u0000\u0007\u000b\u000e\u001f""#,
            r#"{"a":[{"b":null},[]],"b":""}"#,
            "{\"\u{10000}\":1,\"\u{e000}\":2}",
            "{\"\u{e000}\":1,\"\u{10000}\":2}",
        ] {
            assert_eq!(whole(text), Ok(()), "{text}");
        }
        for text in [
            "",
            " {}",
            "{} ",
            "{ }",
            "[1, 2]",
            "{\"a\": 1}",
            "01",
            "-0",
            "-",
            "1.0",
            "1e3",
            "+1",
            "9007199254740992",
            "-9007199254740992",
            "99999999999999999999999",
            "True",
            "nul",
            "\"",
            "\"\t\"",
            r#""\/""#,
            r#""\u000a""#,
            r#""\u0008""#,
            r#""\u001F""#,
            r#""\u0020""#,
            r#""\u00e9""#,
            r#""\x""#,
            r#""\"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,}"#,
            "[1,]",
            "[1",
            "{\"a\"}",
            r#"{"a\n":1,"a\n":1}"#,
            "{\"é\":1,\"a\":2}",
            "{\"a\":1",
            "{a:1}",
        ] {
            assert!(whole(text).is_err(), "{text}");
        }
        assert!(whole(&"[".repeat(1 << 20)).is_err(), "bounded");
        assert!(whole(&format!("{}{}", "[".repeat(16), "]".repeat(16))).is_ok());
    }

    #[test]
    fn what_is_canonical_is_so_by_another_reading_too() {
        for record in samples::everything() {
            let text = serde_json::to_string(&record).unwrap();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(whole(&jcs::canonical(&value)), Ok(()));
        }
    }

    #[test]
    fn members_that_make_the_chain_must_be_there() {
        let mut line = Vec::new();
        LineEncoder::new("n")
            .encode(&samples::statement("SELECT 1"), &mut line)
            .unwrap();
        let text = String::from_utf8(line).unwrap();
        let text = text.trim_end();
        assert!(Head::read(text.as_bytes()).is_ok());
        for (from, to) in [
            ("\"seq\":1,", ""),
            ("\"seq\":1", "\"seq\":\"1\""),
            ("\"seq\":1", "\"seq\":-1"),
            (",\"v\":1", ""),
            ("\"kind\":\"statement\",", ""),
            ("\"kind\":\"statement\"", "\"kind\":1"),
            ("\"node\":\"n\",", ""),
            ("\"chain\":{\"hash\"", "\"chain\":{\"hash2\""),
            ("\"prev\":\"0", "\"prev\":\"A"),
            ("\"prev\":\"0", "\"prev\":\""),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(
                Head::read(text.replace(from, to).as_bytes()).is_err(),
                "{from}"
            );
        }
        assert_eq!(
            Head::read(b"{\"a\":\"\xff\"}").unwrap_err(),
            NotCanonical::Utf8
        );
        assert!(Head::read(b"[]").is_err() && Head::read(b"").is_err());
    }
}
