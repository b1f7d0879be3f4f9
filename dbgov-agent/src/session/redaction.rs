//! What of a statement its record keeps.

use std::sync::Arc;

use super::blocks::options;
use super::{Recorder, Session};
use crate::audit::record::{ErrorBlock, ResultBlock, StatementBlock, VerdictBlock};
use crate::protocol::{Request, SessionFacts, Statement, Text};
use crate::redact::{Shown, Subject, Treatment};
use crate::sql::secret::{self, Secrets};
use crate::sql::{Change, Facts, Options};

/// `set_config(text, text, boolean)` as a FunctionCall names it (src/include/catalog/pg_proc.dat).
const SET_CONFIG_OID: u32 = 2077;

/// What a statement is, and what of it is shown.
pub(super) struct Seen {
    pub(super) facts: Option<Arc<Facts>>,
    pub(super) shown: Option<Shown>,
    treatment: Treatment,
}

impl Session {
    /// Looks at a statement's text before anything of it is recorded.
    pub(super) fn look_at(&mut self, statement: &Statement, recorder: &mut Recorder) -> Seen {
        let Some(text) = &statement.text else {
            return Seen {
                facts: None,
                shown: None,
                treatment: self.treatment(&statement.session, None, recorder),
            };
        };
        self.look_at_text(text, &statement.session, recorder)
    }

    pub(super) fn look_at_text(
        &mut self,
        text: &Arc<Text>,
        session: &SessionFacts,
        recorder: &mut Recorder,
    ) -> Seen {
        let options = options(session);
        let facts = recorder.facts.get_text_with(text, options);
        let treatment = self.treatment(session, Some(&facts), recorder);
        let shown = self.shown(text, &facts, treatment, options, recorder);
        Seen {
            facts: Some(facts),
            shown: Some(shown),
            treatment,
        }
    }

    fn treatment(
        &self,
        session: &SessionFacts,
        facts: Option<&Facts>,
        recorder: &Recorder,
    ) -> Treatment {
        if recorder.redactor.is_idle() {
            return Treatment::default();
        }
        let identity = self.requester();
        let subject = Subject {
            database: session.database.as_deref(),
            user: session.user.as_deref(),
            identity: Some(&identity),
        };
        recorder.redactor.treatment(&subject, facts)
    }

    fn shown(
        &mut self,
        text: &Arc<Text>,
        facts: &Facts,
        treatment: Treatment,
        options: Options,
        recorder: &Recorder,
    ) -> Shown {
        let mut secrets = recorder.facts.secrets(text);
        self.runs_secrets |= secrets.as_ref().is_some_and(|secrets| secrets.prepares);
        if self.may_run_secrets() && executes(facts) {
            secrets = Some(Arc::new(with_everything(secrets.as_deref(), text)));
        }
        Shown::new(&recorder.redactor, text, secrets, treatment, options)
    }

    /// What EXECUTE runs may take a secret. Of a session that is older than the agent nobody knows what was prepared.
    fn may_run_secrets(&self) -> bool {
        self.runs_secrets || self.midstream
    }

    /// The text of a message that waits, as a person and the record may see it.
    pub fn shown_text(
        &mut self,
        request: &Request,
        facts: Option<&Facts>,
        recorder: &Recorder,
    ) -> Option<Arc<Text>> {
        let text = request.texts.first()?;
        let anything = Facts::anything();
        let facts = facts.unwrap_or(&anything);
        let treatment = self.treatment(&request.session, Some(facts), recorder);
        let options = options(&request.session);
        Some(self.shown(text, facts, treatment, options, recorder).text)
    }

    /// An error that belongs to no statement.
    pub(super) fn redact_error(&self, error: &mut ErrorBlock, recorder: &Recorder) {
        let Some(message) = &mut error.message else {
            return;
        };
        let facts = self.decoder.facts();
        let treatment = self.treatment(facts, None, recorder);
        let known = |quoted: &str| {
            [&facts.user, &facts.database]
                .into_iter()
                .any(|name| name.as_deref() == Some(quoted))
        };
        *message = recorder.redactor.session_message(message, treatment, known);
    }
}

fn executes(facts: &Facts) -> bool {
    facts
        .changes
        .iter()
        .any(|change| matches!(change, Change::Execute { .. }))
}

fn with_everything(secrets: Option<&Secrets>, text: &Text) -> Secrets {
    let mut everything = secret::everything(&text.text);
    everything.prepares = secrets.is_some_and(|secrets| secrets.prepares);
    everything
}

impl Seen {
    /// The parameters of a statement, as they may be recorded.
    pub(super) fn params(
        &self,
        statement: &mut Statement,
        recorder: &Recorder,
    ) -> Vec<&'static str> {
        let bears = self.shown.as_ref().is_some_and(Shown::bears);
        let secret = bears || statement.unseen || statement.function_oid == Some(SET_CONFIG_OID);
        recorder
            .redactor
            .params(&mut statement.params, self.treatment, secret)
    }

    /// What the server says, which may quote the statement.
    pub(super) fn result(&self, result: &mut ResultBlock, recorder: &Recorder) {
        let Some(message) = &mut result.message else {
            return;
        };
        *message = match &self.shown {
            Some(shown) => shown.message(&recorder.redactor, message),
            None => recorder
                .redactor
                .session_message(message, self.treatment, |_| false),
        };
    }

    /// Names that rest on what was taken out are secrets themselves: strings of another dialect.
    pub(super) fn verdict(&self, verdict: &mut VerdictBlock) {
        if let (Some(shown), Some(matched)) = (&self.shown, &mut verdict.matched) {
            *matched = shown.scrubbed(matched).into_owned();
        }
    }

    /// The text and its facts.
    pub(super) fn text(
        &self,
        block: &mut StatementBlock,
        original: &Arc<Text>,
        recorder: &mut Recorder,
        options: Options,
    ) {
        let (Some(shown), Some(facts)) = (&self.shown, &self.facts) else {
            return;
        };
        super::blocks::text_facts(block, &shown.text, facts);
        if !shown.is_changed(original) {
            return;
        }
        // A fingerprint of the original could rest on what was taken out.
        let facts = recorder.facts.get_text_with(&shown.text, options);
        block.fingerprint = Some(Arc::clone(&facts.fingerprint));
        if block.tables.iter().any(|table| shown.is_secret(table)) {
            let tables = block.tables.iter();
            block.tables = tables
                .filter(|table| !shown.is_secret(table))
                .cloned()
                .collect();
        }
        block.redacted.clone_from(&shown.redacted);
    }
}
