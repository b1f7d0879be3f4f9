//! Needles to a deterministic automaton, by the construction of subsets.

use std::collections::HashMap;

use dbgov_common::gate::{AUTOMATON_HIT, AUTOMATON_START, AUTOMATON_STATES_MAX, Automaton};

use super::needle::{GLUE_BYTES_MAX, Needle, Right, continues, glues, is_blank};

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
}

/// What is known of the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Position {
    /// Bytes since the last one that glues nothing, up to one more than allowed.
    glued: u8,
    /// Sorted.
    items: Vec<Item>,
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
        let mut next = Position {
            glued: if self.anywhere || !glues(byte) {
                0
            } else {
                (from.glued + 1).min(GLUE_BYTES_MAX + 1)
            },
            items: Vec::with_capacity(from.items.len() + 1),
        };
        for &item in &from.items {
            match self.step_item(item, byte) {
                Step::To(item) => next.items.push(item),
                Step::Gone => {}
                Step::Hit(needle) => return Err(needle.into()),
            }
        }
        let word_begins = from.glued <= GLUE_BYTES_MAX;
        for (at, needle) in (0u16..).zip(self.needles) {
            if word_begins || !needle.at_start {
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

    fn step_item(&self, item: Item, byte: u8) -> Step<Item> {
        match item {
            Item::Begun { needle, bytes } => self.step_begun(needle, bytes, byte),
            Item::Ended { needle } if is_blank(byte) => Step::To(Item::Ended { needle }),
            Item::Ended { needle } => {
                let letter = byte.to_ascii_lowercase();
                let followers = self.followers(needle);
                let word = followers.iter().position(|word| word.as_bytes()[0] == letter);
                match word.and_then(|word| u8::try_from(word).ok()) {
                    Some(word) => Step::To(Item::Followed {
                        needle,
                        word,
                        bytes: 1,
                    }),
                    None => Step::Hit(needle),
                }
            }
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

    fn step_begun(&self, needle: u16, bytes: u16, byte: u8) -> Step<Item> {
        let Needle { units, right, .. } = &self.needles[usize::from(needle)];
        let Some(unit) = units.get(usize::from(bytes)) else {
            return match right {
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
        let mut units: Vec<_> = self.needles.iter().flat_map(|needle| &needle.units).collect();
        units.sort_unstable_by_key(|unit| format!("{unit:?}"));
        units.dedup();
        let followers: Vec<u8> = (0u16..)
            .zip(self.needles)
            .flat_map(|(at, _)| self.followers(at))
            .flat_map(|word| word.bytes())
            .collect();
        std::array::from_fn(|at| {
            let byte = u8::try_from(at).unwrap_or(u8::MAX);
            let letter = byte.to_ascii_lowercase();
            let mut traits = vec![glues(byte), continues(byte), is_blank(byte)];
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
