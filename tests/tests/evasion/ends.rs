//! Beginnings and ends of connections, and urgent data.

use std::time::Duration;

use dbgov_tests::extended;

use crate::raw::{ACK, FIN, PSH, RST, SYN, Segment, URG};
use crate::wire::{PATIENCE, Trick, part, refused, trick};

pub(crate) fn ends() -> Vec<Trick> {
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

pub(crate) fn early() -> Vec<Trick> {
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
