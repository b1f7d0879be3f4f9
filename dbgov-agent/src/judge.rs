//! Asks the policy: what a session is known to be, what its message may do, and the verdict as the record has it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::record::VerdictBlock;
use crate::config::PolicyMode;
use crate::policy::trigger::Trigger;
use crate::policy::{Action, Context, Message, Policy, SearchPath, Verdict};
use crate::protocol::postgres::Decoder;
use crate::protocol::{Request, SessionFacts, Text, Via};
use crate::sql::{Change, Facts, FactsCache, Options, Tracked};

/// The policy in force.
#[derive(Debug)]
pub struct Rulebook {
    pub policy: Policy,
    /// Grows by one with each policy that the kernel has taken up.
    pub generation: u64,
}

/// Who sends, as the policy is told.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// By the kernel's evidence: `None` where there may be some that was not found, `Some("")` where there can be none
    /// (a client of another host).
    pub identity: Option<&'a str>,
    pub client_addr: IpAddr,
    pub facts: &'a SessionFacts,
    /// Its start was not seen: what it did not say since is not known.
    pub midstream: bool,
    /// Another role than the start-up user may be the current one.
    pub role_may_change: bool,
    /// Nanoseconds since 1970.
    pub unix_ns: u64,
}

impl<'a> Who<'a> {
    /// As the server last reported it.
    pub fn search_path(&self) -> SearchPath {
        match &self.facts.search_path {
            Some(schemas) => SearchPath::Known(schemas.to_vec()),
            None => SearchPath::Unknown,
        }
    }

    pub fn context(&self, search_path: &'a SearchPath) -> Context<'a> {
        Context {
            identity: self.identity,
            user: self.facts.user.as_deref(),
            role: self.facts.role.as_deref().or(
                match self.role_may_change || self.facts.role_at_start {
                    true => None,
                    false => self.facts.user.as_deref(),
                },
            ),
            database: self.facts.database.as_deref(),
            application: self.facts.application.as_deref().or(match self.midstream {
                true => None,
                false => Some(""),
            }),
            client_addr: Some(self.client_addr.to_canonical()),
            unix_ns: i128::from(self.unix_ns),
            search_path,
        }
    }
}

/// The verdict on one message.
#[derive(Debug, Clone)]
pub struct Judged {
    pub verdict: Verdict,
    /// Of the message's own text, for its record.
    pub facts: Option<Arc<Facts>>,
    /// The message makes a prepared statement, in SQL.
    pub prepares: bool,
    /// What it prepares needs an approval when it runs.
    pub held_when_run: bool,
    /// The message may change the current role.
    pub may_change_role: bool,
}

impl Judged {
    /// For the record.
    pub fn block(&self, mode: PolicyMode) -> Box<VerdictBlock> {
        let verdict = &self.verdict;
        Box::new(VerdictBlock {
            action: verdict.action.name(),
            approval: None,
            held_us: None,
            matched: verdict.matched.clone(),
            mode: mode.name(),
            reason: verdict.reason.clone(),
            rule: Arc::clone(&verdict.rule),
            wanted: None,
        })
    }
}

impl Rulebook {
    /// The verdict on a message that makes the server run something, or defines what a later one runs.
    pub fn judge(
        &self,
        request: &Request,
        who: &Who<'_>,
        decoder: &mut Decoder,
        cache: &mut FactsCache,
    ) -> Judged {
        // What was sent before and is not answered yet may change how the server reads this.
        let answered = !decoder.is_answer_outstanding_before(request.number);
        let path = match answered {
            true => who.search_path(),
            false => SearchPath::Unknown,
        };
        let context = who.context(&path);
        let options = Options {
            standard_conforming_strings: who.facts.standard_conforming_strings.filter(|_| answered),
        };
        if let Some(oid) = request.function_oid {
            return Judged::alone(
                self.policy
                    .evaluate(&context, &Message::FunctionCall { oid }),
            );
        }
        let mut run = MayRun {
            unseen: request.unseen,
            ..MayRun::default()
        };
        for text in &request.texts {
            let mut facts = cache.get_text_with(text, options);
            if text.truncated && self.has_no_word(text) {
                facts = Arc::new(without_guesses(&facts));
            }
            run.add(
                facts,
                text.truncated && text.tail_hit || !answered && rests_on_encoding(text),
            );
        }
        run.follow_executes(decoder, options, cache);
        if run.hidden {
            run.facts.push(Arc::new(Facts::anything()));
        }
        let facts: Vec<&Facts> = run.facts.iter().map(Arc::as_ref).collect();
        let bytes = request
            .texts
            .iter()
            .map(|text| text.bytes)
            .max()
            .unwrap_or(0);
        let mut verdict = match facts.is_empty() {
            true => None,
            false => {
                let message = Message::Statement {
                    facts: &facts,
                    bytes,
                };
                Some(self.policy.evaluate(&context, &message))
            }
        };
        if run.unseen || verdict.is_none() {
            let unseen = self.policy.evaluate(&context, &Message::Unseen);
            verdict = Some(stricter(verdict, unseen));
        }
        let mut verdict = verdict.unwrap_or_else(allowed);
        // What is prepared runs when it is executed: that is when somebody has to approve it.
        let held_when_run = request.via == Via::Prepare && verdict.action == Action::Hold;
        if held_when_run {
            verdict.action = Action::Allow;
        }
        Judged {
            verdict,
            prepares: run.prepares,
            held_when_run,
            may_change_role: run.facts.iter().any(|facts| may_change_role(facts)),
            facts: run.facts.into_iter().next(),
        }
    }

    /// Nothing in the whole text is what a rule could stop, though only its head can be read: the kernel, which looks
    /// for the same words, lets it pass.
    fn has_no_word(&self, text: &Text) -> bool {
        let hits = match Trigger::compile(&self.policy.rules, &self.policy.settings) {
            Trigger::Pass => false,
            Trigger::Automaton(words) => words.hits(text.text.as_bytes()),
            Trigger::Strict(_) => true,
        };
        !hits && !text.tail_hit
    }

    /// The verdict on bytes that are no statement.
    pub fn judge_bytes(&self, message: Message<'_>, who: &Who<'_>) -> Judged {
        let path = who.search_path();
        Judged::alone(self.policy.evaluate(&who.context(&path), &message))
    }
}

impl Judged {
    fn alone(verdict: Verdict) -> Self {
        Judged {
            verdict,
            facts: None,
            prepares: false,
            held_when_run: false,
            may_change_role: false,
        }
    }
}

/// SET ROLE and its kin, or code that may be anything.
fn may_change_role(facts: &Facts) -> bool {
    let sets = facts.changes.iter().any(|change| {
        let Change::Set { setting, .. } = change else {
            return false;
        };
        matches!(setting, Tracked::Role | Tracked::SessionAuthorization)
    });
    sets || facts.effects.iter().any(|effect| effect.dynamic)
}

fn without_guesses(facts: &Facts) -> Facts {
    let mut certain = facts.clone();
    certain.effects.retain(|effect| !effect.uncertain);
    certain
}

/// Whether it could be another text in another client_encoding. In some a backslash is the second byte of a character
/// (PostgreSQL documentation 24.3.1): whether it ends a string or goes on is then another matter. Nothing else that
/// means something to the server's scanner is in their second bytes.
fn rests_on_encoding(text: &Text) -> bool {
    let head = text.text.as_bytes();
    let behind_other = head
        .windows(2)
        .any(|pair| !pair[0].is_ascii() && pair[1] == b'\\');
    behind_other || text.encoding.is_some() && !head.is_ascii()
}

fn stricter(one: Option<Verdict>, other: Verdict) -> Verdict {
    match one {
        Some(one) if one.action >= other.action => one,
        _ => other,
    }
}

fn allowed() -> Verdict {
    Verdict {
        action: Action::Allow,
        rule: "(default)".into(),
        reason: None,
        matched: None,
        approval_timeout: Duration::ZERO,
    }
}

/// EXECUTEs followed for one message: each stands in a text that a client wrote; a text that executes itself ends here.
const EXECUTES_MAX: usize = 64;

/// Everything that a message may run.
#[derive(Default)]
struct MayRun {
    facts: Vec<Arc<Facts>>,
    unseen: bool,
    hidden: bool,
    prepares: bool,
}

impl MayRun {
    /// `hidden`: the text is the head of a longer one, and something behind it could be restricted: it may do anything.
    fn add(&mut self, facts: Arc<Facts>, hidden: bool) {
        self.hidden |= hidden;
        self.prepares |= facts
            .changes
            .iter()
            .any(|change| matches!(change, Change::Prepare { .. }));
        if !self.facts.iter().any(|known| Arc::ptr_eq(known, &facts)) {
            self.facts.push(facts);
        }
    }

    /// EXECUTE runs what its name stands for. One that is prepared in the same text has its effects there.
    fn follow_executes(&mut self, decoder: &mut Decoder, options: Options, cache: &mut FactsCache) {
        let mut next = 0;
        while let Some(facts) = self.facts.get(next).map(Arc::clone) {
            next += 1;
            for change in &facts.changes {
                let Change::Execute { name } = change else {
                    continue;
                };
                let here = facts.changes.iter().any(
                    |change| matches!(change, Change::Prepare { name: made, .. } if made == name),
                );
                let candidates = decoder.may_stand_for(name);
                self.unseen |= candidates.unseen && !here;
                for text in &candidates.texts {
                    if self.facts.len() >= EXECUTES_MAX {
                        self.unseen = true;
                        return;
                    }
                    self.add(
                        cache.get_text_with(text, options),
                        text.truncated && text.tail_hit,
                    );
                }
            }
        }
    }
}
