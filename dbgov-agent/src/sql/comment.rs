//! What a client says about a statement in a comment, in the form of sqlcommenter
//! (<https://open-telemetry.github.io/opentelemetry-sqlcommenter/specifications>):
//! `/*controller='index',traceparent='00-5bd6…-01'*/` behind the statement, or before it. Keys and values are URL
//! encoded. They are claims: who writes the statement writes them too.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::chars::cut;

/// A longer comment is none of these, bytes.
const COMMENT_BYTES_MAX: usize = 8 * 1024;
/// Pairs beyond are left out: the text has them.
const PAIRS_MAX: usize = 32;
/// A longer key is none, bytes.
const KEY_BYTES_MAX: usize = 64;
/// What is kept of a value, bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Claimed values by their keys, which are of visible ASCII.
pub type Claims = BTreeMap<String, String>;

/// The pairs of the last comment of the text, else of the first, where these stand behind or before all else. Empty
/// where there is none of this form. Of a key that comes twice, the first value.
///
/// ```
/// let claims = dbgov_agent::sql::claims("SELECT 1 /*dbgov_run='r-17',route='%2Fcarts%2F%3Aid'*/;");
/// assert_eq!(claims["route"], "/carts/:id");
/// ```
pub fn claims(text: &str) -> Claims {
    [behind(text), before(text)]
        .into_iter()
        .flatten()
        .filter(|comment| comment.len() <= COMMENT_BYTES_MAX)
        .find_map(pairs)
        .unwrap_or_default()
}

/// The inside of the comment at the end. One that holds another is not of this form.
fn behind(text: &str) -> Option<&str> {
    let text = text.trim_end_matches(|c: char| c == ';' || is_space(c));
    let inside = text.strip_suffix("*/")?;
    let open = inside.rfind("/*")?;
    Some(&inside[open + 2..])
}

/// The inside of the comment at the beginning.
fn before(text: &str) -> Option<&str> {
    let inside = text.trim_start_matches(is_space).strip_prefix("/*")?;
    let close = inside.find("*/")?;
    Some(&inside[..close])
}

/// White space to PostgreSQL's lexer (src/backend/parser/scan.l).
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// `key='value',…` and nothing else.
fn pairs(comment: &str) -> Option<Claims> {
    let mut claims = Claims::new();
    let mut rest = comment.trim_matches(is_space);
    for _ in 0..PAIRS_MAX {
        let (key, behind) = rest.split_once('=')?;
        let (value, behind) = quoted(behind.trim_start_matches(is_space))?;
        let key = decoded(key.trim_matches(is_space));
        if !is_key(&key) {
            return None;
        }
        let mut value = decoded(&value).into_owned();
        cut(&mut value, VALUE_BYTES_MAX);
        claims.entry(key.into_owned()).or_insert(value);
        let behind = behind.trim_start_matches(is_space);
        if behind.is_empty() {
            return Some(claims);
        }
        rest = behind.strip_prefix(',')?;
    }
    Some(claims)
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What stands between the quotes, without the backslashes that escape, and what follows. A backslash escapes a quote
/// and nothing else; URL encoding does the rest.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inside = text.strip_prefix('\'')?;
    let mut end = 0;
    loop {
        end += inside[end..].find('\'')?;
        if !inside[..end].ends_with('\\') {
            break;
        }
        end += 1;
    }
    let value = &inside[..end];
    let value = match value.contains('\\') {
        true => Cow::Owned(value.replace("\\'", "'")),
        false => Cow::Borrowed(value),
    };
    Some((value, &inside[end + 1..]))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<(String, String)> {
        claims(text).into_iter().collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_specifications_exhibit() {
        let text = "SELECT * FROM FOO /*action='%2Fparam*d',controller='index',framework='spring',\n\
             traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01',\n\
             tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/";
        assert_eq!(
            of(text),
            [
                pair("action", "/param*d"),
                pair("controller", "index"),
                pair("framework", "spring"),
                pair(
                    "traceparent",
                    "00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01"
                ),
                pair("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
            ]
        );
    }

    #[test]
    fn behind_before_and_with_escapes() {
        for text in [
            "/*a='1'*/ SELECT 1",
            "SELECT 1 /* a = '1' */ ;\n",
            "SELECT 1; /*a='1'*/",
            "/* made by hand */ SELECT 1 /*a='1'*/",
            "/*a='1'*/ SELECT 1 /* made by hand */",
            "SELECT 1 /*a='1',a='2'*/",
        ] {
            assert_eq!(of(text), [pair("a", "1")], "{text}");
        }
        assert_eq!(
            of(r"SELECT 1 /*name='DROP TABLE FOO\'',%C3%A9='x'*/"),
            [],
            "a key that is no visible ASCII"
        );
        assert_eq!(
            of(r"SELECT 1 /*name='%27DROP TABLE FOO\'',b=''*/"),
            [pair("b", ""), pair("name", "'DROP TABLE FOO'")]
        );
        assert_eq!(of("SELECT 1 /*a='%ff%41'*/"), [pair("a", "\u{fffd}A")]);
    }

    #[test]
    fn what_is_none() {
        for text in [
            "SELECT 1",
            "SELECT 1 /**/",
            "SELECT 1 /* a */",
            "SELECT 1 /*a='1'",
            "SELECT 1 /*a='1*/",
            "SELECT 1 /*a=1*/",
            "SELECT 1 /*a='1';b='2'*/",
            "SELECT 1 /*='1'*/",
            "SELECT '/*a=''1''*/'",
            "SELECT '/*' -- a*/",
            "SELECT 1 /*a='1'*/ + 1",
            "*/",
            "/*/",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
    }

    #[test]
    fn bounds() {
        let many: Vec<_> = (0..100).map(|n| format!("k{n:03}='{n}'")).collect();
        let claims = claims(&format!("SELECT 1 /*{}*/", many.join(",")));
        assert_eq!(claims.len(), PAIRS_MAX);
        assert_eq!(of(&format!("SELECT 1 /*{}='1'*/", "k".repeat(65))), []);
        let long = of(&format!("SELECT 1 /*a='{}'*/", "é".repeat(1000)));
        assert_eq!(long, [pair("a", &"é".repeat(512))]);
        assert_eq!(of(&format!("SELECT 1 /*a='{}'*/", "x".repeat(9000))), []);
        // Work grows with the text, not with its square.
        let nested = "/*a='".repeat(200_000);
        assert_eq!(of(&format!("{nested}*/")), []);
        assert_eq!(of(&format!("/*a='{}*/", r"\'".repeat(500_000))), []);
    }

    proptest! {
        #[test]
        fn what_a_library_writes_is_read_back(pairs in prop::collection::btree_map(
            "[a-z_.0-9 ]{1,20}", ".{0,40}", 1..8,
        )) {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let comment: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{}='{}'", encode(key), encode(value)))
                .collect();
            let read = claims(&format!("SELECT 1 /*{}*/", comment.join(",")));
            if pairs.keys().all(|key| is_key(key)) {
                prop_assert_eq!(read, pairs);
            } else {
                prop_assert!(read.is_empty());
            }
        }

        #[test]
        fn no_text_is_too_much(text in r"[a='*/,\\ ;%é]{0,60}") {
            claims(&text);
        }
    }
}
