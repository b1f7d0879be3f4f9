//! What holds for any policy and any message, against evaluation by the book: no index, no memory, one effect at a time.

use proptest::prelude::*;

use super::{policy, somebody};
use crate::policy::{Action, Context, Message, Policy, SearchPath};
use crate::sql::{Dialect, Effect, Facts, Object, ObjectKind, Verb, facts};

const ACTIONS: &[&str] = &["allow", "alert", "hold", "reject", "reset"];

/// One rule's lines; "" is a key left out.
fn rule() -> impl Strategy<Value = String> {
    let line = |lines: &'static [&'static str]| prop::sample::select(lines);
    (
        prop::sample::select(ACTIONS),
        line(&[
            "",
            "verbs = [\"drop\"]",
            "verbs = [\"read\"]",
            "verbs = [\"write\", \"call\"]",
            "verbs = [\"unknown\"]",
        ]),
        line(&[
            "",
            "",
            "tables = [\"t\"]",
            "tables = [\"s.*\"]",
            "tables = [\"public.t\", \"x.u\"]",
        ]),
        line(&["", "", "schemas = [\"s\"]"]),
        line(&["", "", "missing_where = true", "missing_where = false"]),
        line(&[
            "",
            "",
            "identities = [\"agent:*\"]",
            "users = [\"other\"]",
            "roles = [\"app\"]",
        ]),
        line(&[
            "",
            "",
            "multi_statement = true",
            "server_side = true",
            "statement_bytes = 20",
        ]),
    )
        .prop_map(|(action, verbs, tables, schemas, missing, who, rest)| {
            [
                &format!("action = {action:?}"),
                verbs,
                tables,
                schemas,
                missing,
                who,
                rest,
            ]
            .join("\n")
        })
}

fn policies() -> impl Strategy<Value = Policy> {
    let settings = (
        prop::sample::select(ACTIONS),
        prop::sample::select(&["allow", "alert", "hold", "deny"][..]),
    );
    (settings, prop::collection::vec(rule(), 0..6)).prop_map(|((default, unparsed), rules)| {
        let mut text = format!("default = {default:?}\nunparsed = {unparsed:?}\n");
        for (number, rule) in rules.iter().enumerate() {
            text.push_str(&format!("[[rule]]\nname = \"r{number}\"\n{rule}\n"));
        }
        policy(&text)
    })
}

fn effect() -> impl Strategy<Value = Effect> {
    let object = (
        prop::sample::select(
            &[
                ObjectKind::Relation,
                ObjectKind::Function,
                ObjectKind::Schema,
                ObjectKind::Other,
            ][..],
        ),
        prop::sample::select(&[None, Some("s"), Some("public")][..]),
        prop::sample::select(&["t", "u", "s"][..]),
    )
        .prop_map(|(kind, schema, name)| Object {
            kind,
            schema: schema.map(Into::into),
            name: name.into(),
        });
    (
        prop::sample::select(
            &[
                Verb::Drop,
                Verb::Select,
                Verb::Delete,
                Verb::Call,
                Verb::Begin,
                Verb::Unknown,
            ][..],
        ),
        prop::option::of(object),
        any::<[bool; 3]>(),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(verb, object, [uncertain, missing_where, server_side], dynamic)| {
                let unknown = dynamic || verb == Verb::Unknown;
                Effect {
                    verb: if dynamic { Verb::Unknown } else { verb },
                    object: object.filter(|_| !dynamic),
                    uncertain: uncertain || unknown,
                    missing_where: missing_where && verb == Verb::Delete,
                    server_side,
                    dynamic,
                }
            },
        )
}

fn is_readable(effect: &Effect) -> bool {
    effect.verb != Verb::Unknown || effect.dynamic
}

fn message(effects: Vec<Effect>, count: u32) -> Facts {
    let mut message = facts("", Dialect::Postgres, false);
    (message.effects, message.count) = (effects, count);
    message
}

fn action(policy: &Policy, context: &Context<'_>, effects: &[Effect]) -> (Action, String) {
    let facts = message(effects.to_vec(), 2);
    let verdict = policy.evaluate(
        context,
        &Message::Statement {
            facts: &[&facts],
            bytes: 30,
        },
    );
    (verdict.action, verdict.rule.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Effects taken one by one, the strictest of them: the message's. (What could not be read is another matter: there
    /// the guesses decide together.)
    #[test]
    fn the_strictest_effect(policy in policies(), effects in prop::collection::vec(effect(), 1..6), path in any::<bool>()) {
        let path = if path { SearchPath::Unknown } else { SearchPath::Known(vec!["public".into()]) };
        let context = somebody(&path);
        let readable: Vec<Effect> =
            effects.into_iter().filter(|effect| effect.verb != Verb::Unknown || effect.dynamic).collect();
        prop_assume!(!readable.is_empty());
        let single = readable.iter().map(|effect| action(&policy, &context, std::slice::from_ref(effect)).0).max();
        prop_assert_eq!(Some(action(&policy, &context, &readable).0), single);
    }

    /// One more effect makes no message more lenient.
    #[test]
    fn more_is_not_more_lenient(policy in policies(), mut effects in prop::collection::vec(effect(), 2..6)) {
        effects.retain(is_readable);
        prop_assume!(effects.len() > 1);
        let context = somebody(&SearchPath::Unknown);
        let all = action(&policy, &context, &effects).0;
        effects.pop();
        prop_assert!(action(&policy, &context, &effects).0 <= all);
    }

    /// What is uncertain is decided as if there were no rule that allows.
    #[test]
    fn no_allow_covers_the_uncertain(policy in policies(), effects in prop::collection::vec(effect(), 1..4)) {
        let context = somebody(&SearchPath::Unknown);
        let effects: Vec<Effect> = effects
            .into_iter()
            .map(|effect| Effect { uncertain: true, ..effect })
            .collect();
        let restrictive = Policy::new(
            policy.rules.iter().filter(|rule| rule.is_restrictive()).cloned().collect(),
            policy.settings,
            policy.sha256.clone(),
        );
        prop_assert_eq!(action(&policy, &context, &effects), action(&restrictive, &context, &effects));
    }

    /// Certainty makes nothing stricter where no rule allows.
    #[test]
    fn doubt_is_not_lenient(policy in policies(), effect in effect()) {
        prop_assume!(effect.verb != Verb::Unknown);
        let context = somebody(&SearchPath::Unknown);
        let restrictive: Vec<_> = policy.rules.iter().filter(|rule| rule.action == Action::Reset).cloned().collect();
        let policy = Policy::new(restrictive, Default::default(), policy.sha256.clone());
        let sure = Effect { uncertain: false, ..effect.clone() };
        let unsure = Effect { uncertain: true, ..effect };
        prop_assert!(
            action(&policy, &context, std::slice::from_ref(&sure)).0
                <= action(&policy, &context, std::slice::from_ref(&unsure)).0
        );
    }

    /// Rules behind the one that decided change nothing; the one that decided, put first, decides still.
    #[test]
    fn the_first_rule_decides(policy in policies(), effect in effect()) {
        let context = somebody(&SearchPath::Unknown);
        let effects = std::slice::from_ref(&effect);
        let decided = action(&policy, &context, effects);
        let Some(at) = policy.rules.iter().position(|rule| *rule.name == *decided.1) else {
            return Ok(());
        };
        for rules in [policy.rules[..=at].to_vec(), policy.rules[at..].to_vec()] {
            let shorter = Policy::new(rules, policy.settings, policy.sha256.clone());
            prop_assert_eq!(&action(&shorter, &context, effects), &decided);
        }
        let before = Policy::new(policy.rules[..at].to_vec(), policy.settings, policy.sha256.clone());
        prop_assert!(action(&before, &context, effects).1.starts_with('('));
    }

    /// Whoever knows less of the sender is not more lenient, but for rules that allow.
    #[test]
    fn knowing_less_is_not_lenient(policy in policies(), mut effects in prop::collection::vec(effect(), 1..4)) {
        effects.retain(is_readable);
        let strict: Vec<_> = policy.rules.iter().filter(|rule| rule.action == Action::Reset).cloned().collect();
        let policy = Policy::new(strict, Default::default(), policy.sha256.clone());
        let known = somebody(&SearchPath::Unknown);
        let unknown = Context { identity: None, user: None, role: None, database: None, ..known };
        prop_assert!(action(&policy, &known, &effects).0 <= action(&policy, &unknown, &effects).0);
    }
}
