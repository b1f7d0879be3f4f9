//! Segments: cut, reordered, repeated with other content, urgent, half-closed, with the handshake.

use std::time::Duration;

use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::Options;
use dbgov_tests::wire::{query, startup};
use dbgov_tests::{Result, ensure, extended, journal};

use crate::raw::{ACK, FIN, PSH, Peer, RST, SYN, Segment, Tun, URG};
use crate::stand::{Heard, Stand, application};

/// Which of two texts comes first.
type Order = fn(&Texts) -> [&[u8]; 2];

/// A refused client is told within this.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is neither refused nor answered by then never will be.
const SETTLED: Duration = Duration::from_millis(700);
/// Below the ephemeral ports.
const FIRST_PORT: u16 = 20_000;

/// Two messages of the same length: one to be denied, one harmless.
struct Texts {
    evil: Vec<u8>,
    good: Vec<u8>,
    startup: Vec<u8>,
}

impl Texts {
    fn new(number: usize) -> Texts {
        let evil = format!("DROP TABLE v{number}; --");
        let good = format!("SELECT 'a{}'", "z".repeat(evil.len() - 10));
        Texts {
            evil: query(&evil),
            good: query(&good),
            startup: startup(&[
                ("user", "postgres"),
                ("database", "postgres"),
                ("application_name", &application(number)),
            ]),
        }
    }
}

type Play = Box<dyn Fn(&mut Peer<'_>, &Texts) -> Result<()>>;

struct Trick {
    name: String,
    /// The client is refused; else it is enough that nothing runs.
    refused: bool,
    /// It is harmless, and answered.
    answered: bool,
    /// Before the handshake.
    early: bool,
    play: Play,
}

fn trick(
    name: impl Into<String>,
    play: impl Fn(&mut Peer<'_>, &Texts) -> Result<()> + 'static,
) -> Trick {
    Trick {
        name: name.into(),
        refused: false,
        answered: false,
        early: false,
        play: Box::new(play),
    }
}

fn refused(
    name: impl Into<String>,
    play: impl Fn(&mut Peer<'_>, &Texts) -> Result<()> + 'static,
) -> Trick {
    Trick {
        refused: true,
        ..trick(name, play)
    }
}

fn answered(
    name: impl Into<String>,
    play: impl Fn(&mut Peer<'_>, &Texts) -> Result<()> + 'static,
) -> Trick {
    Trick {
        answered: true,
        ..trick(name, play)
    }
}

/// One of the two messages from a byte on, as a segment.
fn part(peer: &Peer<'_>, message: &[u8], from: usize, to: usize) -> Segment {
    Segment::new(peer.next.wrapping_add(from as u32), &message[from..to])
}

fn cuts() -> Vec<Trick> {
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

/// The same place in the stream, twice, with other content.
fn overlaps() -> Vec<Trick> {
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
fn discarded() -> Vec<Trick> {
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

fn ends() -> Vec<Trick> {
    vec![
        refused("FIN with it", |peer, texts| {
            peer.send(&Segment {
                flags: ACK | PSH | FIN,
                ..Segment::new(peer.next, &texts.evil)
            })
        }),
        refused("FIN behind it", |peer, texts| {
            peer.write(&texts.evil)?;
            peer.send(&Segment {
                flags: ACK | FIN,
                ..Segment::new(peer.next, &[])
            })
        }),
        trick("FIN before it", |peer, texts| {
            peer.send(&Segment {
                flags: ACK | FIN,
                ..Segment::new(peer.next, &[])
            })?;
            peer.again(&[
                Segment::new(peer.next, &texts.evil),
                Segment::new(peer.next.wrapping_add(1), &texts.evil),
            ])
        }),
        trick("FIN with half of it, then all", |peer, texts| {
            let half = Segment {
                flags: ACK | FIN,
                ..part(peer, &texts.evil, 0, 10)
            };
            peer.again(&[half, Segment::new(peer.next, &texts.evil)])
        }),
        refused("Terminate in the next segment", |peer, texts| {
            peer.write(&texts.evil)?;
            peer.write(&extended::terminate())
        }),
        trick("RST behind it", |peer, texts| {
            peer.write(&texts.evil)?;
            peer.send(&Segment {
                flags: RST,
                ..Segment::new(peer.next, &[])
            })
        }),
        refused("urgent", |peer, texts| {
            peer.send(&Segment {
                flags: ACK | URG,
                urgent: 5,
                ..Segment::new(peer.next, &texts.evil)
            })
        }),
        trick("an urgent byte inside the verb", |peer, texts| {
            let bytes = [&texts.evil[..7], b"X", &texts.evil[7..]].concat();
            peer.again(&[Segment {
                flags: ACK | URG,
                urgent: 8,
                ..Segment::new(peer.next, &bytes)
            }])
        }),
        trick("an urgent byte told ahead", |peer, texts| {
            let bytes = [&texts.evil[..7], b"X", &texts.evil[7..]].concat();
            let told = Segment {
                flags: ACK | URG,
                urgent: 8,
                ..Segment::new(peer.next, &[])
            };
            peer.again(&[told, Segment::new(peer.next, &bytes)])
        }),
        trick("an urgent byte told by an old segment", |peer, texts| {
            let bytes = [&texts.evil[..7], b"X", &texts.evil[7..]].concat();
            let told = Segment {
                flags: ACK | URG,
                urgent: 9,
                ..Segment::new(peer.next.wrapping_sub(1), &[0])
            };
            peer.again(&[told, Segment::new(peer.next, &bytes)])
        }),
    ]
}

fn early() -> Vec<Trick> {
    let early = |trick: Trick| Trick {
        early: true,
        ..trick
    };
    vec![
        early(refused("in the packet of the start-up", |peer, texts| {
            peer.syn(&[])?;
            peer.acknowledge()?;
            peer.write(&[&texts.startup[..], &texts.evil].concat())
        })),
        early(refused("behind the start-up at once", |peer, texts| {
            peer.syn(&[])?;
            peer.acknowledge()?;
            peer.write(&texts.startup)?;
            peer.write(&texts.evil)
        })),
        early(refused(
            "with the last packet of the handshake",
            |peer, texts| {
                peer.syn(&[])?;
                let all = [&texts.startup[..], &texts.evil].concat();
                peer.send(&Segment::new(peer.next, &all))?;
                // As every client's TCP does, if it is not its first answer.
                peer.acknowledge()?;
                peer.again(&[Segment::new(peer.next, &all)])
            },
        )),
        early(refused("with the SYN", |peer, texts| {
            let all = [&texts.startup[..], &texts.evil].concat();
            peer.send(&Segment {
                flags: SYN,
                ..Segment::new(peer.next, &all)
            })?;
            peer.wait(Duration::from_millis(100), |_| false)?;
            peer.syn(&[])?;
            peer.acknowledge()?;
            peer.again(&[Segment::new(peer.next, &all)])
        })),
        early(refused(
            "behind a request for TLS that is refused",
            |peer, texts| {
                peer.syn(&[])?;
                peer.acknowledge()?;
                let ask = [0, 0, 0, 8, 4, 210, 22, 47];
                peer.write(&ask)?;
                peer.wait(PATIENCE, |received| received == b"N")?;
                peer.received.clear();
                peer.write(&[&texts.startup[..], &texts.evil].concat())
            },
        )),
        early(trick("together with a request for TLS", |peer, texts| {
            peer.syn(&[])?;
            peer.acknowledge()?;
            let ask = [0, 0, 0, 8, 4, 210, 22, 47];
            peer.write(&[&ask[..], &texts.startup, &texts.evil].concat())
        })),
    ]
}

fn play(stand: &Stand, tun: &mut Tun, number: usize, trick: &Trick) -> Result<()> {
    let texts = Texts::new(number);
    let port = FIRST_PORT + number as u16;
    let mut peer = Peer::new(tun, port, stand.server.port());
    if !trick.early {
        peer.syn(&[])?;
        peer.acknowledge()?;
        peer.start(&texts.startup)?;
    }
    (trick.play)(&mut peer, &texts)?;
    let patience = if trick.refused { PATIENCE } else { SETTLED };
    peer.wait(patience, |received| {
        Heard::of(received, false).refusal().is_some()
    })?;
    let heard = Heard::of(&peer.received, peer.ended);
    let kinds: String = heard
        .messages
        .iter()
        .map(|(kind, _)| char::from(*kind))
        .collect();
    ensure!(
        !trick.refused || heard.refusal().is_some(),
        "not refused: messages {kinds:?}, ended: {}",
        peer.ended
    );
    ensure!(
        !trick.answered || kinds.ends_with('Z'),
        "not answered: messages {kinds:?}"
    );
    Ok(())
}

fn try_them(tricks: &[Trick]) -> Result<()> {
    let netns = Netns::joined_to_host()?;
    let options = Options {
        netns: Some(&netns),
        ..Options::default()
    };
    // A server that takes data with the SYN, from whomever.
    let mut fast_open = netns.place().command("sysctl");
    ensure!(
        fast_open
            .args(["-qw", "net.ipv4.tcp_fastopen=0x603"])
            .status()?
            .success()
    );
    let mut stand = Stand::start(&options, tricks.len())?;
    let mut tun = Tun::new(&netns)?;
    for (number, trick) in tricks.iter().enumerate() {
        if let Err(error) = play(&stand, &mut tun, number, trick) {
            stand.fail(number, &trick.name, &format!("{error:#}"));
        }
        if stand
            .server
            .admin(&format!("SELECT count(*) FROM v{number}"))
            .is_err()
        {
            stand.fail(number, &trick.name, "IT RAN");
        }
    }
    stand.agent.stop()?;
    stand.server.stop()?;
    let records = journal::verify(&stand.agent.audit_dir()?)?;
    let log = stand.server.log()?;
    for (number, trick) in tricks.iter().enumerate() {
        let name = application(number);
        let mut ran: Vec<&str> = log
            .iter()
            .filter(|entry| entry.application == name && entry.error.is_none())
            .map(|entry| entry.text.as_str())
            .collect();
        ran.dedup();
        let of_case = journal::of_application(&records, &name);
        let mut told: Vec<&str> = of_case
            .iter()
            .filter(|record| record["kind"] == "statement" && record["result"]["status"] == "ok")
            .filter_map(|record| record["statement"]["text"].as_str())
            .collect();
        told.dedup();
        if ran != told {
            stand.fail(
                number,
                &trick.name,
                &format!("the server ran {ran:?}, the journal has {told:?}"),
            );
        }
        let denied = of_case.iter().any(|record| {
            record["verdict"]["action"] == "reset" && record["verdict"]["rule"].is_string()
        });
        if trick.refused && !denied {
            stand.fail(number, &trick.name, "no denial in the journal");
        }
    }
    stand.conclude(tricks.len())
}

#[test]
fn however_it_is_cut() -> Result<()> {
    try_them(&cuts())
}

#[test]
fn whatever_comes_twice() -> Result<()> {
    try_them(&overlaps())
}

#[test]
fn whatever_the_server_discards() -> Result<()> {
    try_them(&discarded())
}

#[test]
fn however_it_begins_and_ends() -> Result<()> {
    try_them(&[ends(), early()].into_iter().flatten().collect::<Vec<_>>())
}
