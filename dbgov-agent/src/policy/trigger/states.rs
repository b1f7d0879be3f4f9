//! Needles to a deterministic automaton, by the construction of subsets.

use std::collections::HashMap;

use dbgov_common::gate::{AUTOMATON_HIT, AUTOMATON_START, AUTOMATON_STATES_MAX, Automaton};

use super::needle::{
    LENGTH_BYTE_BOUND, Needle, OPENING, OPENING_BYTES_MAX, QUERY, Right, continues, glues, is_blank,
};

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
    /// No word begins directly behind the last byte, unless a text does.
    glued: bool,
    /// Bit n: n bytes behind what may be the type of a Query.
    query: u8,
    /// In how many more bytes a text may begin behind a NUL.
    nul: u8,
    /// Sorted.
    items: Vec<Item>,
}

/// Of [`Position::query`]: behind the four bytes of the length, where the text begins. These bytes can be anything, so
/// that a word there may seem glued to them.
const TEXT: u8 = 1 << 4;

impl Position {
    fn word_begins(&self) -> bool {
        !self.glued || self.query & TEXT != 0
    }

    /// The next one, of no items yet.
    fn after(&self, byte: u8) -> Position {
        let mut query = self.query & !TEXT;
        if byte >= LENGTH_BYTE_BOUND {
            query &= !1;
        }
        Position {
            glued: glues(byte),
            query: query << 1 | u8::from(byte == QUERY),
            nul: if byte == 0 {
                OPENING_BYTES_MAX
            } else {
                self.nul.saturating_sub(1)
            },
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
            (next.glued, next.query) = (false, 0);
        }
        if !self.guards() {
            next.nul = 0;
        } else if from.nul > 0 && byte.to_ascii_lowercase() == OPENING[0] {
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
        let followers = (0u8..).zip(self.followers(needle));
        match self.needles[usize::from(needle)].right {
            _ if is_blank(byte) => Step::To(Item::Ended { needle }),
            Right::More if byte == 0 => Step::Gone,
            _ => match followers
                .filter(|(_, word)| word.as_bytes()[0] == letter)
                .next()
            {
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

    /// Bytes between which no needle tells a difference have the same number.
    fn classes(&self) -> [u16; BYTES] {
        let mut seen: HashMap<Vec<bool>, u16> = HashMap::new();
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
            let next = u16::try_from(seen.len()).unwrap_or(u16::MAX);
            *seen.entry(traits).or_insert(next)
        })
    }

    /// `None` if it has more than [`AUTOMATON_STATES_MAX`] states.
    pub(super) fn build(&self) -> Option<(Box<Automaton>, usize)> {
        let classes = self.classes();
        let mut numbers = HashMap::from([(Position::default(), AUTOMATON_START)]);
        let mut positions = vec![Some(Position::default()), None];
        let mut automaton = Box::new(Automaton {
            next: [AUTOMATON_HIT; AUTOMATON_STATES_MAX * BYTES],
        });
        let mut at = 0;
        while at < positions.len() {
            let Some(position) = positions[at].take() else {
                at += 1;
                continue;
            };
            let mut by_class: HashMap<u16, u16> = HashMap::new();
            for (byte, class) in (0u8..=u8::MAX).zip(classes) {
                let to = match by_class.get(&class) {
                    Some(&to) => to,
                    None => {
                        let to = match self.step(&position, byte) {
                            Err(_) => AUTOMATON_HIT,
                            Ok(next) => match numbers.get(&next) {
                                Some(&number) => number,
                                None if positions.len() == AUTOMATON_STATES_MAX => return None,
                                None => {
                                    let number = u16::try_from(positions.len()).ok()?;
                                    numbers.insert(next.clone(), number);
                                    positions.push(Some(next));
                                    number
                                }
                            },
                        };
                        by_class.insert(class, to);
                        to
                    }
                };
                automaton.next[at * BYTES + usize::from(byte)] = to;
            }
            at += 1;
        }
        Some((automaton, positions.len()))
    }
}
