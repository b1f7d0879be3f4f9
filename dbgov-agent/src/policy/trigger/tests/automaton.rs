//! The automaton alone, on needles of its own.

use dbgov_common::gate::{AUTOMATON_HIT, AUTOMATON_START, AUTOMATON_STATES_MAX};

use super::generator::Generator;
use crate::policy::trigger::Words;
use crate::policy::trigger::needle::{Needle, continues};
use crate::policy::trigger::words::that_hide;

fn words(needles: Vec<Needle>) -> Words {
    Words::new(needles).unwrap()
}

fn drop_and_do() -> Words {
    words(vec![
        Needle::word("drop"),
        Needle::word_not_before("do", &["nothing", "update"]),
        Needle::substring("u&\""),
        Needle::semicolon(),
    ])
}

#[test]
fn hits() {
    let words = drop_and_do();
    for text in [
        "drop table t",
        "DROP",
        "dRoP\ttable t",
        "/**/drop/**/table t",
        "select 1;drop table t",
        "select 'x'drop",
        "select 1drop",
        "select $1drop",
        "select $$x$$drop",
        "select 1.5drop",
        "\"q\"drop",
        ")drop(",
        "drop\u{b}x",
        "DO $$x$$",
        "do'x'",
        "do language sql 'x'",
        "do nothings",
        "do updates",
        "do nothin 'x'",
        "do\n\tu&'x'",
        "do/**/nothing",
        "do",
        "do ",
        "select U&\"x\"",
        "select 1;select 2",
        "select 1; -- x",
    ] {
        assert!(words.hits(text.as_bytes()), "{text}");
        assert!(words.explain(text.as_bytes()).is_some(), "{text}");
    }
}

#[test]
fn passes() {
    let words = drop_and_do();
    for text in [
        "",
        "select 1",
        "dropped",
        "drop_x",
        "drop1",
        "drop$",
        "dropé",
        "d/**/rop",
        "backdrop x",
        "airédrop x",
        "insert into t values (1) on conflict do nothing",
        "insert into t values (1) on conflict DO \n UPDATE set a = 1",
        "do nothing;",
        "select 1;",
        "select 1; \n",
        "u & \"x\"",
        "document",
        "select * from todo where undo",
    ] {
        assert!(
            !words.hits(text.as_bytes()),
            "{text}: {:?}",
            words.explain(text.as_bytes())
        );
        assert_eq!(words.explain(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn explains_by_the_first_word() {
    let words = drop_and_do();
    assert_eq!(words.explain(b"select 1; drop table t"), Some(";"));
    assert_eq!(words.explain(b"drop table t; do 'x'"), Some("drop"));
    assert_eq!(words.explain(b"do 'drop'"), Some("do"));
}

/// Heads in what seems to be a head.
#[test]
fn overlapping_heads() {
    let words = drop_and_do();
    for message in [
        b"Q\0Q\0zzzdrop t\0".as_slice(),
        b"Q\0\0\0Q\0zzzdrop t\0",
        b"Q\0\0Q\0zzzdrop t\0",
        b"QQ\0zzzdrop t\0",
        b"QQQQQ\0zzzdrop t\0",
        b"Q\0QQQdrop t\0",
        b"Q0Q0zdrop t\0",
        b"Q\0zzQdrop t\0",
        b"Q0zQ0drop t\0",
    ] {
        let hit = words.run(AUTOMATON_START, message).1;
        assert!(hit.is_some(), "{}", String::from_utf8_lossy(message));
    }
}

/// INSERT INTO makes no table, SELECT ... INTO does.
#[test]
fn into() {
    let words = words(vec![Needle::into()]);
    let query = |text: &str| [b"Q\0\x01zz", text.as_bytes(), b"\0"].concat();
    let parse = |text: &str| [b"P\0\x01zzs1\0", text.as_bytes(), b"\0\0\0"].concat();
    for (text, held) in [
        ("insert into t values (1)", false),
        ("INSERT\n\tINTO t values (1)", false),
        ("insert into t select * into x", true),
        ("insert/**/into t", true),
        ("insert x into t", true),
        (
            "with x as (insert into t values (1) returning *) table x",
            true,
        ),
        ("select 1 insert into t", true),
        ("select q,a, insert into t", true),
        ("select * into t", true),
    ] {
        for message in [query(text), parse(text)] {
            assert_eq!(
                words.run(AUTOMATON_START, &message).1.is_some(),
                held,
                "{text}"
            );
        }
    }
}

/// The bytes of a message's length stand directly before the text of a simple query.
#[test]
fn whatever_the_length_of_the_message() {
    let words = drop_and_do();
    for length in (0u32..0x4000_0000).step_by(0x1_0301) {
        let mut message = b"zzzzzQ".to_vec();
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(b"drop t\0");
        let (state, hit) = words.run(AUTOMATON_START, &message);
        assert_eq!((state, hit.is_some()), (AUTOMATON_HIT, true), "{length:#x}");
    }
    let letters = b"xxxxxQ\x00aaadrop t\0";
    assert!(words.run(AUTOMATON_START, letters).1.is_some());
}

#[test]
fn a_hit_stays() {
    let words = drop_and_do();
    let (state, _) = words.run(AUTOMATON_START, b"drop ");
    assert_eq!(words.run(state, b"select"), (AUTOMATON_HIT, Some(0)));
    for byte in 0..=u8::MAX {
        let at = usize::from(AUTOMATON_HIT) * 256 + usize::from(byte);
        assert_eq!(words.automaton().next[at], AUTOMATON_HIT);
    }
}

#[test]
fn the_hit_is_where_the_word_ends() {
    let words = drop_and_do();
    assert_eq!(words.run(AUTOMATON_START, b"x drop t").1, Some(6));
    assert_eq!(words.run(AUTOMATON_START, b"x drop").1, None);
}

/// Against a matcher that looks at every place of the text anew.
#[test]
fn finds_what_a_plain_search_finds() {
    let needles = ["drop", "do", "end", "select", "set", "update", "set_config"];
    let words = words(needles.iter().map(|needle| Needle::word(needle)).collect());
    let glue = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
    let mut generator = Generator::new(7);
    let mut found = 0;
    for _ in 0..20_000 {
        let mut text = generator.text().into_bytes();
        text.push(0);
        let expected = (0..text.len()).any(|at| {
            let header = (1..=5).any(|back| at >= back && text[at - back] == b'Q');
            let begins = at == 0 || !glue(text[at - 1]) || header;
            begins
                && needles.iter().any(|needle| {
                    text[at..].len() > needle.len()
                        && text[at..at + needle.len()].eq_ignore_ascii_case(needle.as_bytes())
                        && !continues(text[at + needle.len()])
                })
        });
        found += usize::from(expected);
        let hit = words.run(AUTOMATON_START, &text).1.is_some();
        if text.contains(&b'Q') {
            // What follows a Q decides; `whatever_the_length_of_the_message` has that.
            assert!(expected || !hit);
            continue;
        }
        assert_eq!(hit, expected, "{}", String::from_utf8_lossy(&text));
    }
    assert!((4_000..16_000).contains(&found), "{found}");
}

/// Fewer states where words count anywhere; none where even that is too much.
#[test]
fn too_many_words() {
    let many = |count: u32| -> Vec<Needle> {
        (0..count)
            .map(|n| Needle::word(&format!("{:x}_name", n.wrapping_mul(0x9e37_79b9))))
            .collect()
    };
    let fits = Words::new(many(40)).unwrap();
    assert!(!fits.anywhere && fits.states() <= AUTOMATON_STATES_MAX);
    let mut counts = (60..400).step_by(10);
    let coarse = counts.find_map(|count| Words::new(many(count)).filter(|words| words.anywhere));
    let coarse = coarse.expect("a size between the two");
    assert!(coarse.hits(b"xxxxx9e3779b9_name;"));
    assert!(Words::new(many(800)).is_none());
}

#[test]
fn hiding_words_leave_room() {
    let words = words(that_hide());
    assert!(
        words.states() < AUTOMATON_STATES_MAX / 2,
        "{}",
        words.states()
    );
}
