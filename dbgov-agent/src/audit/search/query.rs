//! Which records are wanted.

use memchr::memmem;

use crate::audit::index::Block;
use crate::audit::index::terms::{self, Field, term};
use crate::audit::view::View;
use crate::glob::Glob;

/// What is asked. Of what stands in one list one must be so, and of each list that is not empty.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Nanoseconds since the Unix epoch, included.
    pub since: Option<u64>,
    /// As `since`, not included.
    pub until: Option<u64>,
    pub identities: Vec<Glob>,
    pub users: Vec<String>,
    pub databases: Vec<String>,
    /// With their schema as the statement has it, or without.
    pub tables: Vec<String>,
    pub verbs: Vec<String>,
    /// `verdict.action`.
    pub verdicts: Vec<String>,
    pub rules: Vec<String>,
    pub kinds: Vec<String>,
    pub sessions: Vec<String>,
    pub runs: Vec<String>,
    pub pids: Vec<u64>,
    /// In statements and parameters, upper and lower case alike.
    pub texts: Vec<String>,
}

/// Filters made ready to be put to many records.
#[derive(Debug)]
pub struct Query {
    filters: Filters,
    /// Each must stand in the line, byte for byte: told without reading the line as JSON.
    needles: Vec<memmem::Finder<'static>>,
    folded: String,
}

impl Query {
    pub fn new(mut filters: Filters) -> Self {
        let mut folded = String::new();
        for text in &mut filters.texts {
            terms::fold(text, &mut folded);
            text.clone_from(&folded);
        }
        Query {
            needles: needles(&filters),
            filters,
            folded,
        }
    }

    /// `false`: the line is none that is wanted.
    pub(super) fn may_match(&self, line: &[u8]) -> bool {
        self.needles
            .iter()
            .all(|needle| needle.find(line).is_some())
    }

    pub fn matches(&mut self, view: &View) -> bool {
        let filters = &self.filters;
        let session = &view.session;
        let rule = view.verdict.rule.some().or(view.approval.rule.some());
        let one_of = |wanted: &[String], value: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == value)
        };
        self.is_in_time(view)
            && one_of(&filters.kinds, &view.kind)
            && one_of(&filters.users, &session.user)
            && one_of(&filters.databases, &session.database)
            && one_of(&filters.sessions, &session.id)
            && one_of(&filters.verdicts, &view.verdict.action)
            && one_of(&filters.rules, rule.unwrap_or_default())
            && one_of(&filters.runs, terms::run(view))
            && any(&filters.identities, |glob| {
                glob.matches(&view.identity.name)
            })
            && any(&filters.pids, |pid| view.identity.pid == Some(*pid))
            && any(&filters.verbs, |verb| {
                view.statement.verbs.iter().any(|other| **other == **verb)
            })
            && any(&filters.tables, |table| {
                terms::tables(view).any(|other| other == table)
            })
            && (filters.texts.is_empty() || has_text(&filters.texts, view, &mut self.folded))
    }

    fn is_in_time(&self, view: &View) -> bool {
        let Filters { since, until, .. } = self.filters;
        if since.is_none() && until.is_none() {
            return true;
        }
        view.time_unix_ns().is_some_and(|time| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        })
    }

    /// `false`: no record of the block is wanted.
    pub(super) fn may_be_in(&self, block: &Block) -> bool {
        let filters = &self.filters;
        let one_of =
            |field, wanted: &[String]| any(wanted, |value| block.may_hold(term(field, value)));
        filters.since.is_none_or(|since| block.time_max >= since)
            && filters.until.is_none_or(|until| block.time_min < until)
            && one_of(Field::Kind, &filters.kinds)
            && one_of(Field::User, &filters.users)
            && one_of(Field::Database, &filters.databases)
            && one_of(Field::Session, &filters.sessions)
            && one_of(Field::Verdict, &filters.verdicts)
            && one_of(Field::Rule, &filters.rules)
            && one_of(Field::Run, &filters.runs)
            && one_of(Field::Verb, &filters.verbs)
            && one_of(Field::Table, &filters.tables)
            && any(&filters.identities, |glob| block.may_hold_identity(glob))
            && any(&filters.pids, |pid| {
                block.may_hold(term(Field::Pid, &pid.to_string()))
            })
            && any(&filters.texts, |text| block.may_hold_text(text))
    }
}

/// An empty list asks for nothing.
fn any<T>(wanted: &[T], is_so: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is_so)
}

fn has_text(wanted: &[String], view: &View, folded: &mut String) -> bool {
    terms::texts(view).any(|text| {
        terms::fold(text, folded);
        wanted.iter().any(|wanted| folded.contains(&**wanted))
    })
}

/// Of lists with one value each, the values that JSON writes as they are.
fn needles(filters: &Filters) -> Vec<memmem::Finder<'static>> {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
    };
    let lists = [
        &filters.users,
        &filters.databases,
        &filters.tables,
        &filters.verbs,
        &filters.verdicts,
        &filters.rules,
        &filters.kinds,
        &filters.sessions,
        &filters.runs,
    ];
    let single = lists.into_iter().filter_map(|list| match &list[..] {
        [one] => Some(one.as_str()),
        _ => None,
    });
    let identity = match &filters.identities[..] {
        [one] => one.exact(),
        _ => None,
    };
    single
        .chain(identity)
        .filter(|text| !text.is_empty() && plain(text))
        .map(|text| memmem::Finder::new(text).into_owned())
        .collect()
}
