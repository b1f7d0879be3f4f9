//! Statements in segments that no client's TCP would send: how the tricks are played and judged.

use std::time::Duration;

use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::Options;
use dbgov_tests::wire::{query, startup};
use dbgov_tests::{Result, ensure, journal};

use crate::ends::{early, ends};
use crate::raw::{Peer, Segment, Tun};
use crate::stand::{Heard, Stand, application};
use crate::tricks::{cuts, discarded, overlaps};

/// A refused client is told within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// What is neither refused nor answered by then never will be.
const SETTLED: Duration = Duration::from_millis(700);
/// Below the ephemeral ports.
const FIRST_PORT: u16 = 20_000;

/// Two messages of the same length: one to be denied, one harmless.
pub(crate) struct Texts {
    pub(crate) evil: Vec<u8>,
    pub(crate) good: Vec<u8>,
    pub(crate) startup: Vec<u8>,
}

impl Texts {
    pub(crate) fn new(number: usize) -> Texts {
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

pub(crate) type Play = Box<dyn Fn(&mut Peer<'_>, &Texts) -> Result<()>>;

pub(crate) struct Trick {
    pub(crate) name: String,
    /// The client is refused; else it is enough that nothing runs.
    pub(crate) refused: bool,
    /// It is harmless, and answered.
    pub(crate) answered: bool,
    /// Before the handshake.
    pub(crate) early: bool,
    pub(crate) play: Play,
}

pub(crate) fn trick(
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

pub(crate) fn refused(
    name: impl Into<String>,
    play: impl Fn(&mut Peer<'_>, &Texts) -> Result<()> + 'static,
) -> Trick {
    Trick {
        refused: true,
        ..trick(name, play)
    }
}

pub(crate) fn answered(
    name: impl Into<String>,
    play: impl Fn(&mut Peer<'_>, &Texts) -> Result<()> + 'static,
) -> Trick {
    Trick {
        answered: true,
        ..trick(name, play)
    }
}

/// One of the two messages from a byte on, as a segment.
pub(crate) fn part(peer: &Peer<'_>, message: &[u8], from: usize, to: usize) -> Segment {
    Segment::new(peer.next.wrapping_add(from as u32), &message[from..to])
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
