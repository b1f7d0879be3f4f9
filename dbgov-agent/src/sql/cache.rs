//! Facts of texts seen before. Reading a statement takes tens of microseconds, an application sends the same few
//! statements again and again, and the simple protocol puts other literals into each.

use std::sync::Arc;

use hashlink::LruCache;

use super::secret::{self, Secrets};
use super::{Change, Dialect, Facts, Lexed, Options};
use crate::protocol::Text;

/// Statements remembered, entries: more than the distinct statements of a large application.
const ENTRIES_MAX: usize = 4096;

/// Memory of all entries, bytes, as far as it is counted: a small part of what the agent may use.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longer keys are not remembered, bytes: such texts are rare, and each would push out hundreds.
const KEY_BYTES_MAX: usize = 16 * 1024;

/// Prepared statements remembered by address, slots; a power of two. Collisions cost one look-up by key.
const SLOTS: usize = 1024;

/// Texts held alive by a slot, bytes.
const SLOT_TEXT_BYTES_MAX: usize = 4 * 1024;

/// Counted for an entry besides its key and effects, bytes.
const ENTRY_BYTES: usize = 256;

/// In front of keys that are whole texts; no other key starts with it.
const WHOLE_TEXT: u8 = 0;

/// A text that is sent once and run again and again.
#[derive(Clone)]
struct Slot {
    text: Arc<Text>,
    facts: Arc<Facts>,
    secrets: Option<Arc<Secrets>>,
}

pub struct FactsCache {
    dialect: Dialect,
    entries: LruCache<Box<[u8]>, Arc<Facts>>,
    bytes: usize,
    slots: Vec<Option<Slot>>,
    lexed: Lexed,
}

impl FactsCache {
    pub fn new(dialect: Dialect) -> Self {
        FactsCache {
            dialect,
            entries: LruCache::new_unbounded(),
            bytes: 0,
            slots: vec![None; SLOTS],
            lexed: Lexed::default(),
        }
    }

    /// The same as [`super::facts`], sooner.
    pub fn get(&mut self, text: &str, truncated: bool) -> Arc<Facts> {
        self.lexed.lex(text, truncated, true);
        if self.lexed.keyed {
            match self.entries.get(self.lexed.key.as_slice()) {
                Some(facts) if !facts.literal_dependent => return Arc::clone(facts),
                // Of this form the literals matter: only the whole text says what it does.
                Some(_) => {}
                None => return self.read_keyed(text),
            }
        }
        self.get_whole(text)
    }

    /// The same as [`super::facts_with`]. Texts that another setting makes another text are rare, and not remembered.
    pub fn get_with(&mut self, text: &str, options: Options, truncated: bool) -> Arc<Facts> {
        if is_plain(text, options) {
            return self.get(text, truncated);
        }
        Arc::new(super::facts_with(text, self.dialect, options, truncated))
    }

    /// [`FactsCache::get_text`] of a session with other settings.
    pub fn get_text_with(&mut self, text: &Arc<Text>, options: Options) -> Arc<Facts> {
        if is_plain(&text.text, options) {
            return self.get_text(text);
        }
        self.get_with(&text.text, options, text.truncated)
    }

    /// The facts of a text that the caller keeps and asks for again (a prepared statement): found by its address.
    pub fn get_text(&mut self, text: &Arc<Text>) -> Arc<Facts> {
        if let Some(slot) = self.slot(text) {
            return Arc::clone(&slot.facts);
        }
        let facts = self.get(&text.text, text.truncated);
        // Nobody else holds the text of a simple query: it does not come again under this address.
        let shared = Arc::strong_count(text) > 1;
        if shared && text.text.len() <= SLOT_TEXT_BYTES_MAX {
            self.slots[slot_of(text)] = Some(Slot {
                text: Arc::clone(text),
                facts: Arc::clone(&facts),
                secrets: secrets(text),
            });
        }
        facts
    }

    /// The secrets in a text: of one that the caller keeps found by its address.
    pub fn secrets(&self, text: &Arc<Text>) -> Option<Arc<Secrets>> {
        match self.slot(text) {
            Some(slot) => slot.secrets.clone(),
            None => secrets(text),
        }
    }

    fn slot(&self, text: &Arc<Text>) -> Option<&Slot> {
        let slot = self.slots[slot_of(text)].as_ref()?;
        Arc::ptr_eq(&slot.text, text).then_some(slot)
    }

    fn read_keyed(&mut self, text: &str) -> Arc<Facts> {
        let facts = Arc::new(self.lexed.facts(text, self.dialect));
        self.insert(self.lexed.key.clone(), &facts);
        facts
    }

    fn get_whole(&mut self, text: &str) -> Arc<Facts> {
        if self.lexed.cut || text.len() >= KEY_BYTES_MAX {
            return Arc::new(self.lexed.facts(text, self.dialect));
        }
        let mut key = Vec::with_capacity(text.len() + 1);
        key.push(WHOLE_TEXT);
        key.extend_from_slice(text.as_bytes());
        if let Some(facts) = self.entries.get(key.as_slice()) {
            return Arc::clone(facts);
        }
        let facts = Arc::new(self.lexed.facts(text, self.dialect));
        self.insert(key, &facts);
        facts
    }

    fn insert(&mut self, key: Vec<u8>, facts: &Arc<Facts>) {
        if key.len() > KEY_BYTES_MAX {
            return;
        }
        self.bytes += cost(key.len(), facts);
        if let Some(old) = self
            .entries
            .insert(key.clone().into_boxed_slice(), Arc::clone(facts))
        {
            self.bytes -= cost(key.len(), &old);
        }
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((key, facts)) = self.entries.remove_lru() else {
                break;
            };
            self.bytes -= cost(key.len(), &facts);
        }
    }
}

fn slot_of(text: &Arc<Text>) -> usize {
    (Arc::as_ptr(text).addr() / align_of::<u128>()) % SLOTS
}

fn secrets(text: &Text) -> Option<Arc<Secrets>> {
    secret::secrets(&text.text, text.truncated).map(Arc::new)
}

/// The options are the default ones, or all the same to this text.
fn is_plain(text: &str, options: Options) -> bool {
    options == Options::default() || !text.contains('\\')
}

fn cost(key_bytes: usize, facts: &Facts) -> usize {
    let names: usize = facts.tables.iter().map(|table| 2 * table.len()).sum();
    ENTRY_BYTES
        + key_bytes
        + names
        + facts.effects.len() * size_of::<super::Effect>()
        + changes(facts)
}

fn changes(facts: &Facts) -> usize {
    let text = |change: &Change| match change {
        Change::Prepare { text, .. } | Change::Declare { text, .. } => text.len(),
        _ => 0,
    };
    let entry = |change| size_of::<Change>() + text(change);
    facts.changes.iter().map(entry).sum()
}
