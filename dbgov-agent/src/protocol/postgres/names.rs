//! What prepared statements and portals stand for, as the server has it at this point of its answers.

use std::sync::Arc;

use hashlink::LruCache;

use super::args::Args;
use super::limits::{Limits, SKIPPED_NAMES_MAX};
use super::scan;
use super::wire::{Name, name};
use crate::protocol::Text;

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) text: Arc<Text>,
    /// As declared in Parse, or as the server described them.
    pub(super) types: Vec<u32>,
}

impl Prepared {
    pub(super) fn cost_bytes(&self) -> usize {
        size_of::<Self>() + self.text.text.len() + 4 * self.types.len()
    }
}

/// A bound statement.
#[derive(Debug, Clone)]
pub(super) struct Portal {
    /// `None`: its Parse was never seen.
    pub(super) statement: Option<Arc<Prepared>>,
    pub(super) args: Arc<Args>,
    /// An Execute of it stopped at its row limit.
    pub(super) suspended: bool,
}

/// Named things with a bound on their number and their bytes; the least recently used goes first. The unnamed one has
/// a place of its own.
struct Table<V> {
    unnamed: Option<V>,
    named: LruCache<Name, (V, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl<V> Table<V> {
    fn new(count_max: usize, bytes_max: usize) -> Self {
        Table {
            unnamed: None,
            named: LruCache::new(count_max.max(1)),
            bytes: 0,
            bytes_max,
        }
    }

    fn get(&mut self, name: &[u8]) -> Option<&mut V> {
        if name.is_empty() {
            return self.unnamed.as_mut();
        }
        self.named.get_mut(name).map(|(value, _)| value)
    }

    fn set(&mut self, name: &[u8], value: V, cost_bytes: usize) {
        if name.is_empty() {
            self.unnamed = Some(value);
            return;
        }
        self.remove(name);
        if self.named.len() as u64 >= self.named.capacity() as u64 {
            self.remove_oldest();
        }
        self.bytes += cost_bytes;
        self.named.insert(name.into(), (value, cost_bytes));
        while self.bytes > self.bytes_max && self.named.len() > 1 {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, (_, cost))) = self.named.remove_lru() {
            self.bytes -= cost;
        }
    }

    fn remove(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else if let Some((_, cost)) = self.named.remove(name) {
            self.bytes -= cost;
        }
    }

    fn clear_named(&mut self) {
        self.named.clear();
        self.bytes = 0;
    }

    fn clear(&mut self) {
        self.unnamed = None;
        self.clear_named();
    }
}

/// What the messages that the server skips would have defined: the record of a skipped Execute wants its text.
#[derive(Default)]
struct Skipped {
    statements: Vec<(Name, Arc<Prepared>)>,
    portals: Vec<(Name, Portal)>,
}

fn put<V>(list: &mut Vec<(Name, V)>, name: &[u8], value: V) {
    if let Some(entry) = list.iter_mut().find(|(n, _)| **n == *name) {
        entry.1 = value;
    } else if list.len() < SKIPPED_NAMES_MAX {
        list.push((name.into(), value));
    }
}

fn find<'a, V>(list: &'a [(Name, V)], name: &[u8]) -> Option<&'a V> {
    list.iter()
        .find(|(n, _)| **n == *name)
        .map(|(_, value)| value)
}

/// The prepared statements and portals of a session.
pub(super) struct Names {
    statements: Table<Arc<Prepared>>,
    portals: Table<Portal>,
    skipped: Option<Box<Skipped>>,
}

impl Names {
    pub(super) fn new(limits: &Limits) -> Self {
        Names {
            statements: Table::new(limits.prepared_statements_max, limits.prepared_bytes_max),
            portals: Table::new(limits.portals_max, limits.portal_bytes_max),
            skipped: None,
        }
    }

    pub(super) fn statement(&mut self, name: &[u8]) -> Option<Arc<Prepared>> {
        if let Some(found) = self
            .skipped
            .as_ref()
            .and_then(|s| find(&s.statements, name))
        {
            return Some(found.clone());
        }
        self.statements.get(name).cloned()
    }

    pub(super) fn portal(&mut self, name: &[u8]) -> Option<Portal> {
        if let Some(found) = self.skipped.as_ref().and_then(|s| find(&s.portals, name)) {
            return Some(found.clone());
        }
        self.portals.get(name).cloned()
    }

    pub(super) fn prepare(&mut self, name: &[u8], statement: Arc<Prepared>) {
        let cost = statement.cost_bytes();
        self.statements.set(name, statement, cost);
    }

    /// As [`Names::prepare`], the answer not being known: the server refuses a name that is taken.
    pub(super) fn prepare_unconfirmed(&mut self, name: &[u8], statement: Arc<Prepared>) {
        if name.is_empty() || self.statements.get(name).is_none() {
            self.prepare(name, statement);
        }
    }

    /// Parameter types from ParameterDescription.
    pub(super) fn describe(&mut self, name: &[u8], types: Vec<u32>) {
        if let Some(statement) = self.statements.get(name)
            && statement.types != types
        {
            let described = Arc::new(Prepared {
                text: statement.text.clone(),
                types,
            });
            self.prepare(name, described);
        }
    }

    /// The portal that this Bind would make.
    pub(super) fn bound(&mut self, args: Arc<Args>) -> Portal {
        Portal {
            statement: self.statement(&args.statement),
            args,
            suspended: false,
        }
    }

    pub(super) fn bind(&mut self, args: Arc<Args>) {
        let portal = self.bound(args.clone());
        self.portals.set(&args.portal, portal, args.cost_bytes());
    }

    pub(super) fn suspend(&mut self, portal: &[u8]) {
        if let Some(portal) = self.portals.get(portal) {
            portal.suspended = true;
        }
    }

    pub(super) fn close_statement(&mut self, name: &[u8]) {
        self.statements.remove(name);
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) {
        self.portals.remove(name);
    }

    /// Portals end with their transaction.
    pub(super) fn transaction_ended(&mut self) {
        self.portals.clear();
    }

    /// A simple query drops the unnamed statement and portal (documentation, "Extended Query").
    pub(super) fn simple_query_ran(&mut self) {
        self.statements.unnamed = None;
        self.portals.unnamed = None;
    }

    /// What the names stand for may have changed unseen.
    pub(super) fn forget(&mut self) {
        self.statements.clear();
        self.portals.clear();
        self.skipped = None;
    }

    pub(super) fn skip_statement(&mut self, name: &[u8], statement: Arc<Prepared>) {
        put(
            &mut self.skipped.get_or_insert_default().statements,
            name,
            statement,
        );
    }

    pub(super) fn skip_portal(&mut self, args: Arc<Args>) {
        let portal = self.bound(args.clone());
        put(
            &mut self.skipped.get_or_insert_default().portals,
            &args.portal,
            portal,
        );
    }

    pub(super) fn skip_ends(&mut self) {
        self.skipped = None;
    }

    /// PREPARE, DEALLOCATE or DISCARD ALL took effect.
    pub(super) fn sql(&mut self, change: scan::Prepared, text: &Arc<Text>, confirmed: bool) {
        match change {
            scan::Prepared::Prepare(id) => {
                let statement = Arc::new(Prepared {
                    text: text.clone(),
                    types: Vec::new(),
                });
                let id = name(id.as_bytes());
                match confirmed {
                    true => self.prepare(&id, statement),
                    false => self.prepare_unconfirmed(&id, statement),
                }
            }
            scan::Prepared::Deallocate(id) => self.close_statement(&name(id.as_bytes())),
            // The server keeps the unnamed statement in a place of its own and drops only the named ones.
            scan::Prepared::DeallocateAll => self.statements.clear_named(),
            scan::Prepared::DiscardAll => {
                self.statements.clear_named();
                self.portals.clear();
            }
        }
    }
}
