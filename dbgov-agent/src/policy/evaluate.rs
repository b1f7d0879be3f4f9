//! The question: every effect takes the first rule that matches it, the message the strictest.

use std::fmt::Write;
use std::sync::Arc;

use super::action::Action;
use super::context::{Context, Message, Verdict};
use super::matching::{Text, What, Who};
use super::names::SearchPath;
use super::rule::{APPROVAL_TIMEOUT_DEFAULT, Rule};
use super::{Policy, RULES_MAX, fastpath};
use crate::sql::{Change, Effect, Facts, Tracked, Verb};

/// Of a message that changes the path its own names are looked for on.
const PATH_UNKNOWN: &SearchPath = &SearchPath::Unknown;

/// What decides where no rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    Default,
    Unparsed,
    Unseen,
    Opaque,
    Malformed,
}

impl Setting {
    pub(super) const ALL: [Setting; 5] = [
        Setting::Default,
        Setting::Unparsed,
        Setting::Unseen,
        Setting::Opaque,
        Setting::Malformed,
    ];

    /// As in the record (`verdict.rule`).
    pub(super) fn label(self) -> &'static str {
        match self {
            Setting::Default => "(default)",
            Setting::Unparsed => "(unparsed)",
            Setting::Unseen => "(unseen)",
            Setting::Opaque => "(opaque)",
            Setting::Malformed => "(malformed)",
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    Rule(&'a Rule),
    Setting(Setting),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Decision<'a> {
    pub(super) action: Action,
    pub(super) by: By<'a>,
    effect: Option<&'a Effect>,
}

impl<'a> Decision<'a> {
    /// Of two that are as strict, a rule says more than a setting, and the first one more than a later.
    fn or_stricter(self, other: Decision<'a>) -> Decision<'a> {
        let rank = |decision: &Decision<'_>| (decision.action, matches!(decision.by, By::Rule(_)));
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }
}

const WORDS: usize = RULES_MAX.div_ceil(64);

/// One message against a policy; remembers which rules its sender falls under.
pub(super) struct Question<'a> {
    pub(super) policy: &'a Policy,
    pub(super) context: Context<'a>,
    /// Of each rule: whether it was looked up, and whether the sender falls under it.
    asked: [u64; WORDS],
    falls_under: [u64; WORDS],
}

impl<'a> Question<'a> {
    pub(super) fn new(policy: &'a Policy, context: &Context<'a>) -> Self {
        Question {
            policy,
            context: *context,
            asked: [0; WORDS],
            falls_under: [0; WORDS],
        }
    }

    /// A message that changes role or search path may do what it does before or after that.
    fn of_facts(policy: &'a Policy, context: &Context<'a>, facts: &Facts) -> Self {
        let mut question = Question::new(policy, context);
        for change in &facts.changes {
            let Change::Set { setting, .. } = change else {
                continue;
            };
            match setting {
                Tracked::SearchPath => question.context.search_path = PATH_UNKNOWN,
                Tracked::Role | Tracked::SessionAuthorization => question.context.role = None,
                Tracked::StandardConformingStrings | Tracked::ClientEncoding => {}
            }
        }
        question
    }

    fn who(&mut self, rule: usize) -> bool {
        let (word, bit) = (rule / 64, 1 << (rule % 64));
        if self.asked[word] & bit == 0 {
            self.asked[word] |= bit;
            let rule = &self.policy.rules[rule];
            let unknown = rule.is_restrictive();
            if Who::ALL
                .iter()
                .all(|who| who.holds(rule, &self.context, unknown))
            {
                self.falls_under[word] |= bit;
            }
        }
        self.falls_under[word] & bit != 0
    }

    /// The first rule that matches.
    pub(super) fn rule(&mut self, effect: &Effect, text: Text) -> Option<&'a Rule> {
        let policy = self.policy;
        let candidates = if effect.dynamic {
            &policy.index.all
        } else {
            policy.index.of(effect.verb)
        };
        candidates
            .iter()
            .map(|&at| usize::from(at))
            .find(|&at| {
                let rule = &policy.rules[at];
                (rule.is_restrictive() || !effect.uncertain)
                    && What::ALL
                        .iter()
                        .all(|what| what.holds(rule, effect, text, self.context.search_path))
                    && self.who(at)
            })
            .map(|at| &policy.rules[at])
    }

    /// By the first rule that matches, or by the default.
    fn one<'e>(&mut self, effect: &'e Effect, text: Text) -> Decision<'e>
    where
        'a: 'e,
    {
        match self.rule(effect, text) {
            Some(rule) => Decision {
                action: rule.action,
                by: By::Rule(rule),
                effect: Some(effect),
            },
            None => self.setting(Setting::Default, Some(effect)),
        }
    }

    fn setting<'e>(&self, setting: Setting, effect: Option<&'e Effect>) -> Decision<'e> {
        Decision {
            action: self.policy.settings.of(setting),
            by: By::Setting(setting),
            effect,
        }
    }

    /// Every effect with what is decided about it by a rule or the default, to `tell`; then all of them together.
    pub(super) fn decide(
        policy: &'a Policy,
        context: &Context<'a>,
        facts: &'a Facts,
        bytes: u64,
        tell: &mut impl FnMut(&Question<'a>, &'a Effect, By<'a>),
    ) -> Decision<'a> {
        let mut question = Question::of_facts(policy, context, facts);
        let text = Text {
            bytes,
            statements: facts.count,
        };
        let mut strictest: Option<Decision<'a>> = None;
        let mut unread = None;
        let mut guess_matched = false;
        for effect in &facts.effects {
            let decision = question.one(effect, text);
            guess_matched |= effect.uncertain && matches!(decision.by, By::Rule(_));
            tell(&question, effect, decision.by);
            if is_unread(effect) {
                unread.get_or_insert(effect);
            }
            strictest = Some(strictest.map_or(decision, |so_far| so_far.or_stricter(decision)));
        }
        let decision = match strictest {
            Some(decision) => decision,
            None if facts.count > 0 => question.setting(Setting::Default, None),
            // Only semicolons and comments: nothing is done.
            None => Decision {
                action: Action::Allow,
                by: By::Setting(Setting::Default),
                effect: None,
            },
        };
        match unread {
            Some(effect) if !guess_matched => {
                let unparsed = question.setting(Setting::Unparsed, Some(effect));
                if unparsed.action >= decision.action {
                    unparsed
                } else {
                    decision
                }
            }
            _ => decision,
        }
    }

    /// Nothing is known of what is done. Rules that ask for nothing of it and for whom it is for certain go before.
    fn unreadable(&self, setting: Setting) -> Decision<'a> {
        let decision = self.setting(setting, None);
        let mut rules = self.policy.rules.iter();
        let rule = rules.find(|rule| {
            rule.is_restrictive()
                && rule.takes_every_effect()
                && Who::ALL
                    .iter()
                    .all(|who| who.holds(rule, &self.context, false))
        });
        rule.map_or(decision, |rule| {
            Decision {
                action: rule.action,
                by: By::Rule(rule),
                effect: None,
            }
            .or_stricter(decision)
        })
    }
}

/// A statement that could not be read; what its tokens could mean stands beside it.
fn is_unread(effect: &Effect) -> bool {
    effect.verb == Verb::Unknown && effect.uncertain && !effect.dynamic
}

impl Policy {
    /// What is to be done about a message.
    pub fn evaluate(&self, context: &Context<'_>, message: &Message<'_>) -> Verdict {
        let setting = match *message {
            Message::Statement { facts, bytes } if !facts.is_empty() => {
                let decision = facts
                    .iter()
                    .map(|facts| Question::decide(self, context, facts, bytes, &mut |_, _, _| {}))
                    .reduce(Decision::or_stricter);
                match decision {
                    Some(decision) => return self.verdict(decision),
                    None => Setting::Unseen,
                }
            }
            Message::FunctionCall { oid } => {
                let effect = fastpath::effect(oid);
                let text = Text {
                    bytes: 0,
                    statements: 1,
                };
                let decision = Question::new(self, context).one(&effect, text);
                return self.verdict(decision);
            }
            Message::Statement { .. } | Message::Unseen => Setting::Unseen,
            Message::Opaque => Setting::Opaque,
            Message::Malformed => Setting::Malformed,
        };
        self.verdict(Question::new(self, context).unreadable(setting))
    }

    /// The restrictive rules that a connection's messages may fall under, by what stays as it is while it lives. (The
    /// role, the application and the time do not.)
    pub fn rules_for<'a>(&'a self, context: &'a Context<'a>) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(|rule| {
            rule.is_restrictive()
                && Who::OF_CONNECTION
                    .iter()
                    .all(|who| who.holds(rule, context, true))
        })
    }

    pub(super) fn verdict(&self, decision: Decision<'_>) -> Verdict {
        let (rule, reason, approval_timeout) = match decision.by {
            By::Rule(rule) => (
                Arc::clone(&rule.name),
                rule.reason.clone(),
                rule.approval_timeout,
            ),
            By::Setting(setting) => (self.label(setting), None, APPROVAL_TIMEOUT_DEFAULT),
        };
        let matched = decision
            .effect
            .filter(|_| decision.action.is_restrictive())
            .map(describe);
        Verdict {
            action: decision.action,
            rule,
            reason,
            matched,
            approval_timeout,
        }
    }

    fn label(&self, setting: Setting) -> Arc<str> {
        Arc::clone(&self.labels[setting as usize])
    }
}

/// `drop public.t`
pub(super) fn describe(effect: &Effect) -> String {
    let mut text = effect.verb.name().to_owned();
    if let Some(object) = &effect.object {
        let _ = write!(text, " {object}");
    }
    text
}
