//! Segments that are cut, reordered, and repeated with other content.

use std::time::Duration;

use crate::raw::{ACK, FIN, PSH, RST, SYN, Segment};
use crate::wire::{Texts, Trick, answered, part, refused, trick};

pub(crate) fn cuts() -> Vec<Trick> {
    let length = Texts::new(10).evil.len();
    let mut tricks = Vec::new();
    for at in 1..length {
        tricks.push(refused(format!("cut at {at}"), move |peer, texts| {
            peer.write(&texts.evil[..at])?;
            peer.write(&texts.evil[at..])
        }));
        tricks.push(refused(
            format!("cut at {at}, second part first"),
            move |peer, texts| {
                let second = part(peer, &texts.evil, at, texts.evil.len());
                peer.send(&second)?;
                peer.write(&texts.evil[..at])?;
                peer.poll(Duration::from_millis(20))?;
                peer.send(&second)
            },
        ));
    }
    tricks.push(refused("bytes one at a time", |peer, texts| {
        texts.evil.iter().try_for_each(|byte| peer.write(&[*byte]))
    }));
    tricks.push(refused("bytes one at a time, backwards", |peer, texts| {
        (0..texts.evil.len())
            .rev()
            .try_for_each(|at| peer.send(&part(peer, &texts.evil, at, at + 1)))
    }));
    tricks.push(refused("in IP fragments", |peer, texts| {
        peer.send_fragments(&Segment::new(peer.next, &texts.evil), 8)
    }));
    tricks.push(refused("with IP options", |peer, texts| {
        peer.send(&Segment {
            ip_options: 40,
            ..Segment::new(peer.next, &texts.evil)
        })
    }));
    tricks.push(refused("with TCP options", |peer, texts| {
        peer.send(&Segment {
            tcp_options: 28,
            ..Segment::new(peer.next, &texts.evil)
        })
    }));
    tricks
}

/// Which of the two messages comes first.
type Order = fn(&Texts) -> [&[u8]; 2];

/// The same place in the stream, twice, with other content.
pub(crate) fn overlaps() -> Vec<Trick> {
    let length = Texts::new(10).evil.len();
    let mut tricks = Vec::new();
    for at in [1, 4, 5, 7, 10, length - 1] {
        let orders: [(&str, Order); 2] = [
            ("good", |texts| [&texts.good[..], &texts.evil[..]]),
            ("evil", |texts| [&texts.evil[..], &texts.good[..]]),
        ];
        for (first, order) in orders {
            tricks.push(trick(
                format!("{first} up to {at}, then all of the other"),
                move |peer, texts| {
                    let [one, two] = order(texts);
                    peer.again(&[part(peer, one, 0, at), part(peer, two, 0, two.len())])
                },
            ));
            tricks.push(trick(
                format!("{first} from {at}, then all of the other"),
                move |peer, texts| {
                    let [one, two] = order(texts);
                    peer.again(&[
                        part(peer, one, at, one.len()),
                        part(peer, two, 0, two.len()),
                    ])
                },
            ));
            tricks.push(trick(
                format!("{first} from {at}, then the other's head, then all of it"),
                move |peer, texts| {
                    let [one, two] = order(texts);
                    let all = two.len();
                    peer.again(&[
                        part(peer, one, at, all),
                        part(peer, two, 0, at),
                        part(peer, two, 0, all),
                    ])
                },
            ));
            tricks.push(trick(
                format!("halves of evil in others, {first}, at {at}"),
                move |peer, texts| {
                    let [one, two] = order(texts);
                    let one = [&one[..at], &two[at..]].concat();
                    let two = [&order(texts)[1][..at], &order(texts)[0][at..]].concat();
                    peer.again(&[
                        part(peer, &one, 0, one.len()),
                        part(peer, &two, 0, two.len()),
                    ])
                },
            ));
        }
    }
    for head in [6, 14, 16] {
        tricks.push(refused(
            format!("{head} bytes several times, then the rest"),
            move |peer, texts| {
                for _ in 0..4 {
                    peer.send(&part(peer, &texts.evil, 0, head))?;
                }
                peer.wait(Duration::from_millis(20), |_| false)?;
                peer.send(&part(peer, &texts.evil, head, texts.evil.len()))
            },
        ));
    }
    tricks.push(trick("one byte before the stream", |peer, texts| {
        let bytes = [b"X", &texts.evil[..]].concat();
        peer.send(&Segment::new(peer.next.wrapping_sub(1), &bytes))
    }));
    tricks
}

/// The first is one that TCP throws away behind the gate.
pub(crate) fn discarded() -> Vec<Trick> {
    type Spoil = fn(&mut Segment);
    let ways: [(&str, Spoil); 10] = [
        ("a bad checksum", |s| s.bad_checksum = true),
        ("an old timestamp", |s| s.older = 500_000),
        ("no ACK", |s| s.flags = PSH),
        ("no flags", |s| s.flags = 0),
        ("SYN", |s| s.flags |= SYN),
        ("an ACK of what was not sent", |s| s.ahead = 1 << 28),
        ("a TTL of 1", |s| s.ttl = 1),
        ("FIN and a bad checksum", |s| {
            (s.flags, s.bad_checksum) = (s.flags | FIN, true)
        }),
        ("RST in the window", |s| {
            s.flags = RST | ACK;
            s.seq = s.seq.wrapping_add(1);
            s.payload.remove(0);
        }),
        ("RST outside of the window", |s| {
            s.flags = RST | ACK;
            s.seq = s.seq.wrapping_sub(1 << 20);
        }),
    ];
    let mut tricks = Vec::new();
    for (name, spoil) in ways {
        for evil_first in [false, true] {
            let what = if evil_first { "evil" } else { "good" };
            tricks.push(trick(
                format!("{what} with {name}, then the other"),
                move |peer, texts| {
                    let (first, second) = match evil_first {
                        true => (&texts.evil, &texts.good),
                        false => (&texts.good, &texts.evil),
                    };
                    let mut spoiled = Segment::new(peer.next, first);
                    spoil(&mut spoiled);
                    let second = Segment::new(peer.next, second);
                    peer.again(&[spoiled, second])
                },
            ));
        }
    }
    tricks.push(answered("a bad checksum, then the same", |peer, texts| {
        let good = Segment::new(peer.next, &texts.good);
        peer.again(&[
            Segment {
                bad_checksum: true,
                ..good.clone()
            },
            good,
        ])
    }));
    for name in ["in the window", "outside of the window"] {
        let far = name.starts_with("outside");
        tricks.push(refused(
            format!("RST {name}, then evil"),
            move |peer, texts| {
                let seq = if far {
                    peer.next.wrapping_sub(1 << 20)
                } else {
                    peer.next.wrapping_add(9)
                };
                peer.send(&Segment {
                    flags: RST,
                    ..Segment::new(seq, &[])
                })?;
                peer.write(&texts.evil)
            },
        ));
    }
    tricks
}
