//! A statement's text, parameters and error as they may leave the agent.

use std::borrow::Cow;
use std::sync::Arc;

use super::{LITERALS, PARAMS, PASSWORD, Redactor, Treat, Treatment};
use crate::protocol::Text;
use crate::sql::Options;
use crate::sql::secret::{
    self, Cut, MARK, Secrets, literals, merged, names_in, quoted_replaced, replaced,
};

/// A text as it may leave the agent, and what that took.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The original one where nothing was in it.
    pub text: Arc<Text>,
    /// What was done to it, for the record.
    pub redacted: Vec<&'static str>,
    treatment: Treatment,
    /// Of the original text.
    secrets: Option<Arc<Secrets>>,
    /// What was taken out as a secret.
    values: Vec<String>,
}

impl Shown {
    pub fn new(
        redactor: &Redactor,
        text: &Arc<Text>,
        secrets: Option<Arc<Secrets>>,
        treatment: Treatment,
        options: Options,
    ) -> Self {
        let mut shown = Shown {
            text: Arc::clone(text),
            redacted: Vec::new(),
            treatment,
            secrets,
            values: Vec::new(),
        };
        let secret = shown
            .secrets
            .as_ref()
            .filter(|secrets| !secrets.cuts.is_empty());
        if let Some(secrets) = secret {
            shown.redacted.push(PASSWORD);
            shown.values = secrets.values(&text.text);
        }
        let without = match treatment.literals {
            Treat::Keep => secret.map(|secrets| secrets.redacted(&text.text)),
            treat => {
                let cuts = secret.map_or(&[][..], |secrets| &secrets.cuts);
                let without = without_literals(redactor, text, cuts, treat, options);
                if without.is_some() {
                    shown.redacted.push(LITERALS);
                }
                without
            }
        };
        if let Some(without) = without {
            shown.text = Arc::new(Text {
                text: without.into(),
                // Of the text as it was: short secrets could be guessed from it.
                sha256: None,
                ..Text::clone(text)
            });
        }
        shown
    }

    /// Whether the text is another one than the client's.
    pub fn is_changed(&self, original: &Arc<Text>) -> bool {
        !Arc::ptr_eq(&self.text, original)
    }

    /// What came as a parameter of such a text may be a secret.
    pub fn bears(&self) -> bool {
        self.secrets.as_ref().is_some_and(|secrets| secrets.bears)
    }

    /// A name that was found in the text may be a secret, where another dialect's strings were taken for names.
    pub fn is_secret(&self, name: &str) -> bool {
        self.values.iter().any(|value| value == name)
    }

    /// A text that may name what was taken out.
    pub fn scrubbed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        secret::scrubbed(text, &self.values)
    }

    /// The server's answer, which may quote the statement.
    pub fn message(&self, redactor: &Redactor, message: &str) -> String {
        let scrubbed = self.scrubbed(message);
        if secret::has_userinfo(&scrubbed) {
            return MARK.to_owned();
        }
        let treat = match (self.secrets.is_some(), self.treatment.literals) {
            // Parameters are quoted like literals.
            (false, Treat::Keep) => self.treatment.params,
            (true, _) => Treat::Remove,
            (false, treat) => treat,
        };
        if treat == Treat::Keep {
            return without_secrets(&scrubbed);
        }
        let names = names_in(&self.text.text);
        let known = |quoted: &str| {
            !quoted.is_empty()
                && quoted
                    .split('.')
                    .all(|part| names.contains(&part.to_ascii_lowercase()))
        };
        quoted_replaced(&scrubbed, known, |quoted| {
            redactor.value(quoted, treat).into_owned()
        })
        .into_owned()
    }
}

/// A value that the message quotes may be a secret by itself.
fn without_secrets(message: &str) -> String {
    let known = |quoted: &str| secret::value(quoted).is_none();
    quoted_replaced(message, known, |_| MARK.to_owned()).into_owned()
}

/// `None`: there are none. What is a secret is removed, not hashed.
fn without_literals(
    redactor: &Redactor,
    text: &Text,
    secrets: &[Cut],
    treat: Treat,
    options: Options,
) -> Option<String> {
    let conforming = options.standard_conforming_strings.unwrap_or(true);
    let Some(literals) = literals(&text.text, conforming) else {
        // Where its literals are nobody knows.
        return Some(MARK.to_owned());
    };
    let overlaps = |cut: &Cut| {
        secrets.iter().any(|secret| {
            secret.range.start < cut.range.end.max(cut.range.start + 1)
                && cut.range.start < secret.range.end.max(secret.range.start + 1)
        })
    };
    let mut cuts: Vec<(Cut, String)> = Vec::new();
    for literal in literals {
        let value = match overlaps(&literal.cut) {
            true => MARK.to_owned(),
            false => redactor.value(&literal.value, treat).into_owned(),
        };
        cuts.push((literal.cut, value));
    }
    let outside = |secret: &&Cut| {
        !cuts.iter().any(|(cut, _)| {
            cut.range.start <= secret.range.start && secret.range.end <= cut.range.end
        })
    };
    let more: Vec<(Cut, String)> = secrets
        .iter()
        .filter(outside)
        .map(|cut| (cut.clone(), MARK.to_owned()))
        .collect();
    if !more.is_empty() {
        // A secret that is no literal: what overlaps it goes with it.
        let all = cuts.into_iter().chain(more).map(|(cut, _)| cut).collect();
        return Some(replaced(&text.text, &merged(all), |_| MARK.into()));
    }
    let (cuts, values): (Vec<Cut>, Vec<String>) = cuts.into_iter().unzip();
    (!cuts.is_empty()).then(|| replaced(&text.text, &cuts, |at| values[at].as_str().into()))
}

impl Redactor {
    /// The parameters of a statement, in place. `secret`: they may be secrets, by the text they go into, or because
    /// that was not seen. What was done to them.
    pub fn params(
        &self,
        params: &mut [Option<String>],
        treatment: Treatment,
        secret: bool,
    ) -> Vec<&'static str> {
        let mut done = Vec::new();
        let mut note = |what| {
            if !done.contains(&what) {
                done.push(what);
            }
        };
        for param in params.iter_mut().flatten() {
            if secret {
                MARK.clone_into(param);
                note(PASSWORD);
                continue;
            }
            if let Some(without) = secret::value(param) {
                *param = match treatment.params {
                    Treat::Keep => without,
                    _ => MARK.to_owned(),
                };
                note(PASSWORD);
                continue;
            }
            if treatment.params != Treat::Keep {
                *param = self.value(param, treatment.params).into_owned();
                note(PARAMS);
            }
        }
        done
    }

    /// An error that belongs to no statement. `known`: names that are no values.
    pub fn session_message(
        &self,
        message: &str,
        treatment: Treatment,
        known: impl Fn(&str) -> bool,
    ) -> String {
        if secret::has_userinfo(message) {
            return MARK.to_owned();
        }
        let treat = match treatment.literals {
            Treat::Keep => treatment.params,
            treat => treat,
        };
        match treat {
            Treat::Keep => without_secrets(message),
            treat => quoted_replaced(message, known, |quoted| {
                self.value(quoted, treat).into_owned()
            })
            .into_owned(),
        }
    }
}
