//! Needles to a deterministic automaton, by the construction of subsets.

use std::collections::HashMap;

use dbgov_common::gate::{AUTOMATON_HIT, AUTOMATON_START, AUTOMATON_STATES_MAX, Automaton};

use super::needle::{LENGTH_BYTE_BOUND, Needle, OPENING, QUERY, Right, continues, glues, is_blank};

/// Values of a byte.
const BYTES: usize = 256;

/// How far one needle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Item {
    /// So many of its bytes have been; all of them: the next byte decides.
    Begun { needle: u16, bytes: u16 },
    /// It ended, and what follows decides.
    Ended { needle: u16 },
    /// So many bytes of a word that makes it harmless have been.
    Followed { needle: u16, word: u8, bytes: u16 },
    /// So many bytes of [`OPENING`] have been.
    Opening { bytes: u8 },
    /// All of them, and white space.
    Opened,
}

/// What is known of the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Position {
    /// No word begins directly behind the last byte, but in the window.
    glued: bool,
    window: Window,
    /// The last byte was a NUL: the text of a Parse may begin.
    nul: bool,
    /// Sorted.
    items: Vec<Item>,
}

/// What may be the head of a Query: its type and four bytes of length, directly before the text. These bytes can be
/// anything but the first, so that a word behind them may seem glued to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Window {
    /// A word may begin in any of so many bytes more.
    left: u8,
    /// The last byte was the type, and no other window was open.
    fresh: bool,
    /// The length begins with a NUL. No text has one in it: if this is a head at all, the text begins where it ends.
    real: bool,
}

/// The four bytes of the length, and the first of the text.
const WINDOW_BYTES: u8 = 5;

impl Window {
    fn after(self, byte: u8) -> Window {
        if byte == QUERY {
            return Window {
                left: WINDOW_BYTES,
                fresh: self.left == 0,
                real: false,
            };
        }
        if self.left == 0 || (self.fresh && byte >= LENGTH_BYTE_BOUND) {
            return Window::default();
        }
        let left = self.left - 1;
        Window {
            left,
            fresh: false,
            real: left > 0 && (self.real || (self.fresh && byte == 0)),
        }
    }
}

impl Position {
    fn word_begins(&self) -> bool {
        !self.glued || self.window.left > 0
    }

    /// Not only may a text begin here: what stands here is at most three bytes behind its beginning.
    fn text_begins(&self) -> bool {
        self.nul || (self.window.real && self.window.left == 1)
    }

    /// The next one, of no items yet.
    fn after(&self, byte: u8) -> Position {
        Position {
            glued: glues(byte),
            window: self.window.after(byte),
            nul: byte == 0,
            items: Vec::with_capacity(self.items.len() + 2),
        }
    }
}

/// Where a byte leads an item, or all of them.
enum Step<T> {
    To(T),
    Gone,
    Hit(u16),
}

pub(super) struct Matcher<'a> {
    pub(super) needles: &'a [Needle],
    /// A word may begin anywhere: more is held, fewer states are needed.
    pub(super) anywhere: bool,
}

impl Matcher<'_> {
    /// `Err`: this needle was hit.
    pub(super) fn step(&self, from: &Position, byte: u8) -> Result<Position, usize> {
        let mut next = from.after(byte);
        if self.anywhere {
            (next.glued, next.window) = (false, Window::default());
        }
        if !self.guards() {
            (next.nul, next.window.real) = (false, false);
        } else if from.text_begins() && byte.to_ascii_lowercase() == OPENING[0] {
            next.items.push(Item::Opening { bytes: 1 });
        }
        for &item in &from.items {
            match self.step_item(item, byte) {
                Step::To(item) => next.items.push(item),
                Step::Gone => {}
                Step::Hit(needle) => return Err(needle.into()),
            }
        }
        let opened = from.items.contains(&Item::Opened);
        for (at, needle) in (0u16..).zip(self.needles) {
            if (from.word_begins() || !needle.at_start) && !(opened && needle.not_after_opening) {
                match self.step_begun(at, 0, byte) {
                    Step::To(item) => next.items.push(item),
                    Step::Gone => {}
                    Step::Hit(needle) => return Err(needle.into()),
                }
            }
        }
        next.items.sort_unstable();
        next.items.dedup();
        Ok(next)
    }

    fn guards(&self) -> bool {
        self.needles.iter().any(|needle| needle.not_after_opening)
    }

    fn step_item(&self, item: Item, byte: u8) -> Step<Item> {
        match item {
            Item::Begun { needle, bytes } => self.step_begun(needle, bytes, byte),
            Item::Ended { needle } => self.step_ended(needle, byte),
            Item::Opening { bytes } => match OPENING.get(usize::from(bytes)) {
                Some(&expected) if byte.to_ascii_lowercase() == expected => {
                    Step::To(Item::Opening { bytes: bytes + 1 })
                }
                None if is_blank(byte) => Step::To(Item::Opened),
                _ => Step::Gone,
            },
            Item::Opened if is_blank(byte) => Step::To(item),
            Item::Opened => Step::Gone,
            Item::Followed {
                needle,
                word,
                bytes,
            } => {
                let follower = self.followers(needle)[usize::from(word)].as_bytes();
                match follower.get(usize::from(bytes)) {
                    Some(&expected) if byte.to_ascii_lowercase() == expected => {
                        Step::To(Item::Followed {
                            needle,
                            word,
                            bytes: bytes + 1,
                        })
                    }
                    None if !continues(byte) => Step::Gone,
                    _ => Step::Hit(needle),
                }
            }
        }
    }

    fn step_ended(&self, needle: u16, byte: u8) -> Step<Item> {
        let letter = byte.to_ascii_lowercase();
        let mut followers = (0u8..).zip(self.followers(needle));
        match self.needles[usize::from(needle)].right {
            _ if is_blank(byte) => Step::To(Item::Ended { needle }),
            Right::More if byte == 0 => Step::Gone,
            _ => match followers.find(|(_, word)| word.as_bytes()[0] == letter) {
                Some((word, _)) => Step::To(Item::Followed {
                    needle,
                    word,
                    bytes: 1,
                }),
                None => Step::Hit(needle),
            },
        }
    }

    fn step_begun(&self, needle: u16, bytes: u16, byte: u8) -> Step<Item> {
        let Needle { units, right, .. } = &self.needles[usize::from(needle)];
        let Some(unit) = units.get(usize::from(bytes)) else {
            return match right {
                Right::More => self.step_ended(needle, byte),
                _ if continues(byte) => Step::Gone,
                Right::EndNotBefore(_) if is_blank(byte) => Step::To(Item::Ended { needle }),
                _ => Step::Hit(needle),
            };
        };
        if !unit.takes(byte) {
            return Step::Gone;
        }
        let whole = usize::from(bytes) + 1 == units.len();
        if whole && *right == Right::Open {
            return Step::Hit(needle);
        }
        Step::To(Item::Begun {
            needle,
            bytes: bytes + 1,
        })
    }

    fn followers(&self, needle: u16) -> &'static [&'static str] {
        match self.needles[usize::from(needle)].right {
            Right::EndNotBefore(followers) => followers,
            _ => &[],
        }
    }

    /// A number for each byte; those between which no needle tells a difference have the same.
    fn classes(&self) -> [usize; BYTES] {
        let mut seen: HashMap<Vec<bool>, usize> = HashMap::new();
        let mut units: Vec<_> = self
            .needles
            .iter()
            .flat_map(|needle| &needle.units)
            .collect();
        units.sort_unstable();
        units.dedup();
        let followers: Vec<u8> = (0u16..)
            .zip(self.needles)
            .flat_map(|(at, _)| self.followers(at))
            .flat_map(|word| word.bytes())
            .collect();
        std::array::from_fn(|at| {
            let byte = u8::try_from(at).unwrap_or(u8::MAX);
            let letter = byte.to_ascii_lowercase();
            let mut traits = vec![
                glues(byte),
                continues(byte),
                is_blank(byte),
                byte == 0,
                byte == QUERY,
                byte < LENGTH_BYTE_BOUND,
            ];
            traits.extend(OPENING.iter().map(|&other| other == letter));
            traits.extend(units.iter().map(|unit| unit.takes(byte)));
            traits.extend(followers.iter().map(|&other| other == letter));
            let next = seen.len();
            *seen.entry(traits).or_insert(next)
        })
    }

    /// `None` if it has more than [`AUTOMATON_STATES_MAX`] states.
    pub(super) fn build(&self) -> Option<(Box<Automaton>, usize)> {
        let classes = self.classes();
        let mut table = self.table(&classes)?;
        // HIT is a state too.
        if table.len() >= AUTOMATON_STATES_MAX {
            table = minimal(&table);
        }
        let states = table.len() + 1;
        if states > AUTOMATON_STATES_MAX {
            return None;
        }
        let mut automaton = Box::new(Automaton {
            next: [AUTOMATON_HIT; AUTOMATON_STATES_MAX * BYTES],
        });
        for (at, row) in table.iter().enumerate() {
            let from = usize::from(number(Some(at))) * BYTES;
            for (byte, &class) in classes.iter().enumerate() {
                automaton.next[from + byte] = number(row[class]);
            }
        }
        Some((automaton, states))
    }

    /// The positions that can be reached, from the first on.
    fn table(&self, classes: &[usize; BYTES]) -> Option<Table> {
        let mut members = Vec::new();
        for (byte, &class) in (0u8..=u8::MAX).zip(classes) {
            if class == members.len() {
                members.push(byte);
            }
        }
        let mut numbers = HashMap::from([(Position::default(), 0)]);
        let mut positions = vec![Position::default()];
        let mut table = Table::new();
        while table.len() < positions.len() {
            let from = positions[table.len()].clone();
            let mut row = Vec::with_capacity(members.len());
            for &byte in &members {
                row.push(self.step(&from, byte).ok().map(|next| {
                    let new = numbers.len();
                    *numbers.entry(next).or_insert_with_key(|next| {
                        positions.push(next.clone());
                        new
                    })
                }));
            }
            if positions.len() > POSITIONS_MAX {
                return None;
            }
            table.push(row);
        }
        Some(table)
    }
}

/// For each state, for each class of bytes: the next state; `None` is a hit.
type Table = Vec<Vec<Option<usize>>>;

/// Positions looked at for one automaton, before those that are alike are put together.
const POSITIONS_MAX: usize = 4 * AUTOMATON_STATES_MAX;

/// The number in the kernel's table.
fn number(state: Option<usize>) -> u16 {
    match state {
        None => AUTOMATON_HIT,
        Some(0) => AUTOMATON_START,
        Some(state) => u16::try_from(state + 1).unwrap_or(AUTOMATON_HIT),
    }
}

/// States from which the same bytes hit become one (Moore's algorithm).
fn minimal(table: &Table) -> Table {
    let mut groups = vec![0; table.len()];
    let mut count = 1;
    loop {
        let mut known: HashMap<(usize, Vec<Option<usize>>), usize> = HashMap::new();
        let finer: Vec<usize> = table
            .iter()
            .zip(&groups)
            .map(|(row, &group)| {
                let row = row
                    .iter()
                    .map(|next| next.map(|next| groups[next]))
                    .collect();
                let new = known.len();
                *known.entry((group, row)).or_insert(new)
            })
            .collect();
        let settled = known.len() == count;
        (groups, count) = (finer, known.len());
        if settled {
            break;
        }
    }
    // Groups are numbered by their first state, so that the first state's is the first.
    let mut rows = Table::new();
    for (row, &group) in table.iter().zip(&groups) {
        if group == rows.len() {
            rows.push(
                row.iter()
                    .map(|next| next.map(|next| groups[next]))
                    .collect(),
            );
        }
    }
    rows
}
