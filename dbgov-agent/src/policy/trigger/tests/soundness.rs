//! Whatever the whole evaluation stops, the automaton has hit before the message's last byte has passed.
//!
//! `DBGOV_SOUNDNESS=n` runs n times as many pairs, each run of them with other dice (`DBGOV_SEED`).

use dbgov_common::gate::AUTOMATON_START;

use super::generator::Generator;
use super::policies::{about, policy, random_policy, rule};
use crate::policy::trigger::words::{of_verb, that_hide};
use crate::policy::trigger::{Trigger, Words};
use crate::policy::{Action, Context, Message, NamePattern, Policy, Rule, SearchPath};
use crate::sql::{
    Change, Dialect, Effect, Facts, Object, ObjectKind, Options, RUN_TEXT, Verb, facts_with,
};

/// Texts of a normal run, and policies that each of them is tried with: 200,000 pairs and more.
const TEXTS: usize = 10_000;
const POLICIES_PER_TEXT: usize = 20;
const POLICIES: usize = 300;

struct Case {
    policy: Policy,
    words: Words,
    /// A rule was reduced to names.
    by_name: bool,
}

fn names_objects(rule: &Rule) -> bool {
    !rule.tables.is_empty() || !rule.functions.is_empty() || !rule.settings.is_empty()
}

fn case(policy: Policy) -> Option<Case> {
    match Trigger::compile(&policy.rules, &policy.settings) {
        Trigger::Automaton(words) => Some(Case {
            by_name: policy.rules.iter().any(names_objects),
            policy,
            words,
        }),
        Trigger::Pass => {
            assert!(!policy.rules.iter().any(|rule| rule.action.stops()));
            None
        }
        Trigger::Strict(_) => None,
    }
}

/// Whether the message is to be stopped.
fn verdict(policy: &Policy, message: &Message<'_>) -> bool {
    let context = Context {
        identity: None,
        user: None,
        role: None,
        database: None,
        application: None,
        client_addr: None,
        unix_ns: 0,
        search_path: &SearchPath::Unknown,
    };
    policy.evaluate(&context, message).action.stops()
}

fn stops(policy: &Policy, facts: &Facts, text: &str) -> bool {
    // What was prepared under the name may do anything.
    let executes = |change: &Change| matches!(change, Change::Execute { .. });
    let prepared = facts.changes.iter().any(executes).then(anything);
    let all: Vec<&Facts> = std::iter::once(facts).chain(&prepared).collect();
    let message = Message::Statement {
        facts: &all,
        bytes: text.len() as u64,
    };
    verdict(policy, &message)
}

fn anything() -> Facts {
    read("select query_to_xml('')")
}

/// A statement that could not be read may do its verbs to any object, says the evaluation. The server can do them only
/// to what the text names.
fn named_only(facts: &Facts, text: &str) -> Facts {
    let names = names_in(text);
    let mut narrowed = facts.clone();
    narrowed.effects = facts
        .effects
        .iter()
        .flat_map(|effect| {
            let open = effect.uncertain && effect.object.is_none() && !effect.dynamic;
            let objects = names.iter().filter(|_| open).flat_map(|name| {
                let kinds = [
                    ObjectKind::Relation,
                    ObjectKind::Function,
                    ObjectKind::Setting,
                ];
                kinds.map(|kind| {
                    Some(Object {
                        kind,
                        schema: None,
                        name: name.as_str().into(),
                    })
                })
            });
            let kept = (!open).then(|| effect.object.clone());
            kept.into_iter()
                .chain(objects)
                .map(|object| Effect {
                    object,
                    ..effect.clone()
                })
                .collect::<Vec<_>>()
        })
        .collect();
    narrowed
}

/// Every word, and whatever stands between two double quotes.
fn names_in(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    let words = text.split(|c| !is_part(c)).map(|word| {
        let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
        word.to_ascii_lowercase()
    });
    let quoted = text.split('"').map(|part| part.to_owned());
    words
        .chain(quoted)
        .filter(|name| !name.is_empty())
        .collect()
}

/// As a simple query whose length is of three letters: where the fewest words begin.
fn is_held(words: &Words, text: &str) -> bool {
    let message = [b"Q\0zzz", text.as_bytes(), b"\0"].concat();
    words.run(AUTOMATON_START, &message).1.is_some()
}

/// To be stopped, and not held.
fn escapes(case: &Case, facts: &Facts, text: &str) -> bool {
    if is_held(&case.words, text) || !stops(&case.policy, facts, text) {
        return false;
    }
    !case.by_name || stops(&case.policy, &named_only(facts, text), text)
}

/// In both ways in which a backslash in a plain string may be read.
fn read(text: &str) -> Facts {
    let options = Options {
        standard_conforming_strings: None,
    };
    facts_with(text, Dialect::Postgres, options, false)
}

/// The shortest text with the same failure that taking pieces away leads to.
fn shrink(case: &Case, text: &str) -> String {
    let mut text = text.to_owned();
    let mut size = text.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= text.len() {
            let shorter = match (text.get(..at), text.get(at + size..)) {
                (Some(head), Some(tail)) => format!("{head}{tail}"),
                _ => String::new(),
            };
            if !shorter.is_empty() && escapes(case, &read(&shorter), &shorter) {
                text = shorter;
            } else {
                at += 1;
            }
        }
        size /= 2;
    }
    text
}

fn complain(case: &Case, text: &str) -> ! {
    let text = shrink(case, text);
    panic!(
        "not held: {text:?}\nrules: {:#?}\nwords: {:?}\nfacts: {:#?}",
        case.policy.rules,
        case.words,
        read(&text).effects
    );
}

fn number(variable: &str, default: usize) -> usize {
    let value = std::env::var(variable).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn what_is_stopped_is_held() {
    let mut generator = Generator::new(number("DBGOV_SEED", 1) as u64);
    let cases: Vec<Case> = std::iter::repeat_with(|| random_policy(&mut generator.dice))
        .filter_map(case)
        .take(POLICIES)
        .collect();
    let (mut pairs, mut stopped) = (0usize, 0usize);
    for _ in 0..TEXTS * number("DBGOV_SOUNDNESS", 1) {
        let text = generator.text();
        let facts = read(&text);
        let message = generator.message(&text);
        let cuts = generator.cuts(message.len());
        for _ in 0..POLICIES_PER_TEXT {
            let case = &cases[generator.dice.below(cases.len())];
            pairs += 1;
            if !stops(&case.policy, &facts, &text) {
                continue;
            }
            stopped += 1;
            if is_held(&case.words, &text) {
                in_packets(case, &message, &cuts);
            } else if escapes(case, &facts, &text) {
                complain(case, &text);
            }
        }
        let case = &cases[generator.dice.below(cases.len())];
        fast_call(case, &mut generator);
        let explained = case.words.explain(text.as_bytes()).is_some();
        assert_eq!(explained, case.words.hits(text.as_bytes()), "{text}");
    }
    println!("{pairs} pairs, {stopped} to be stopped");
    assert!(
        pairs >= 200_000 && stopped * 10 > pairs,
        "{stopped} of {pairs}"
    );
}

/// A call on the protocol's fast path, whatever its length.
fn fast_call(case: &Case, generator: &mut Generator) {
    let oid = match generator.dice.below(3) {
        0 => 764,
        1 => 964,
        _ => u32::try_from(generator.dice.below(1 << 31)).unwrap_or_default(),
    };
    if verdict(&case.policy, &Message::FunctionCall { oid }) {
        let length = u32::try_from(generator.dice.below(1 << 30)).unwrap_or_default();
        let message = [b"F".as_slice(), &length.to_be_bytes(), &oid.to_be_bytes()].concat();
        let hit = case.words.run(AUTOMATON_START, &message).1;
        assert!(hit.is_some(), "call of {oid}: {:#?}", case.policy.rules);
    }
}

/// The message with the text hits too, however it is cut.
fn in_packets(case: &Case, message: &[u8], cuts: &[usize]) {
    let whole = case.words.run(AUTOMATON_START, message);
    assert!(whole.1.is_some(), "{:?}", String::from_utf8_lossy(message));
    let mut state = AUTOMATON_START;
    let mut from = 0;
    for &to in cuts.iter().chain([&message.len()]) {
        let (next, hit) = case.words.run(state, &message[from..to]);
        if let Some(hit) = hit {
            assert_eq!(Some(from + hit), whole.1);
            return;
        }
        (state, from) = (next, to);
    }
    panic!(
        "lost between packets: {:?}",
        String::from_utf8_lossy(message)
    );
}

/// A text with each word of the table, that nothing else in the trigger finds: without the word, the test above would
/// fail. (What would find it because of the word itself, such as `end` in `END`, is not taken away here.)
fn is_missed(
    policy: &Policy,
    needles: Vec<super::super::needle::Needle>,
    texts: &[(String, Facts)],
) -> bool {
    let words = Words::new(needles).unwrap();
    texts
        .iter()
        .any(|(text, facts)| !is_held(&words, text) && stops(policy, facts, text))
}

fn texts() -> Vec<(String, Facts)> {
    let mut generator = Generator::new(2);
    let random = std::iter::repeat_with(|| generator.text()).take(TEXTS);
    RUN_TEXT
        .iter()
        .map(|function| format!("select {function}(x)"))
        .chain(random)
        .map(|text| {
            let facts = read(&text);
            (text, facts)
        })
        .collect()
}

/// The test of the test: taking any word away must be noticed.
#[test]
fn no_word_is_there_for_nothing() {
    let texts = texts();
    let mut superfluous = Vec::new();
    for &verb in Verb::ALL {
        let policy = policy(vec![about(&[verb])]);
        for word in of_verb(verb).unwrap_or_default() {
            let Some(Case { words, .. }) = case(policy_of(&policy)) else {
                continue;
            };
            let without: Vec<_> = words
                .needles
                .iter()
                .filter(|needle| *needle.name != **word)
                .cloned()
                .collect();
            if !is_missed(&policy, without, &texts) {
                superfluous.push(format!("{verb}: {word}"));
            }
        }
    }
    let drop = policy(vec![about(&[Verb::Drop])]);
    let whole = case(policy_of(&drop)).unwrap();
    for hiding in that_hide() {
        let without: Vec<_> = whole
            .words
            .needles
            .iter()
            .filter(|needle| **needle != hiding)
            .cloned()
            .collect();
        if !is_missed(&drop, without, &texts) {
            superfluous.push(format!("hidden: {}", hiding.name));
        }
    }
    assert!(superfluous.is_empty(), "{superfluous:#?}");
}

fn policy_of(other: &Policy) -> Policy {
    policy(other.rules.clone())
}

#[test]
fn names_are_looked_for_where_verbs_are_everyday() {
    let rule = Rule {
        tables: vec![NamePattern::new("audit.secrets").unwrap()],
        ..about(&[Verb::Select])
    };
    let case = case(policy(vec![rule])).unwrap();
    for text in [
        "select * from secrets",
        "select * from Audit.\"secrets\"",
        "select * from U&\"s\\0065crets\"",
        "select * from t where exists (table secrets)",
        "do $$begin perform 1; end$$",
    ] {
        assert!(case.words.hits(text.as_bytes()), "{text}");
    }
    for text in [
        "select * from t",
        "select * from secrets_old, nosecrets",
        "delete from audit",
    ] {
        assert!(!case.words.hits(text.as_bytes()), "{text}");
    }
}

#[test]
fn strict_where_words_do_not_do() {
    let strict = |rule: Rule| {
        let policy = policy(vec![rule]);
        matches!(
            Trigger::compile(&policy.rules, &policy.settings),
            Trigger::Strict(_)
        )
    };
    assert!(strict(about(&[Verb::Call])));
    assert!(strict(about(&[Verb::Drop, Verb::Unknown])));
    assert!(strict(rule("all", Action::Hold)));
    assert!(strict(Rule {
        statement_bytes: Some(10),
        ..rule("long", Action::Reset)
    }));
    assert!(strict(Rule {
        tables: vec![NamePattern::new("a*").unwrap()],
        ..rule("a", Action::Reset)
    }));
    assert!(!strict(rule("all", Action::Alert)));
    assert!(!strict(Rule {
        multi_statement: Some(true),
        ..rule("two", Action::Reset)
    }));
    let defaults = policy(Vec::new()).settings;
    assert!(matches!(Trigger::compile([], &defaults), Trigger::Pass));
    for settings in [
        crate::policy::Settings {
            default: Action::Reset,
            ..defaults
        },
        crate::policy::Settings {
            unparsed: Action::Hold,
            ..defaults
        },
        crate::policy::Settings {
            unseen: Action::Reset,
            ..defaults
        },
    ] {
        assert!(matches!(
            Trigger::compile([], &settings),
            Trigger::Strict(_)
        ));
    }
}
