//! The segments put together: do they follow each other, where does the chain begin, what is signed.

use std::io::Read;
use std::path::Path;

use super::super::key::PublicKey;
use super::super::line::FIRST_PREV;
use super::super::lines::open_regular;
use super::super::segment;
use super::super::tombstone::{TOMBSTONE_BYTES_MAX, TOMBSTONE_NAME, Tombstone};
use super::Options;
use super::listing::Listing;
use super::pass::{Context, LINK, Pass, Place, again, missing};
use super::report::{Break, Breaks, KeySeen, Report, STRETCHES_MAX, Stretch};

pub(super) fn read_tombstone(dir: &Path) -> Result<Tombstone, String> {
    let mut text = Vec::new();
    open_regular(&dir.join(TOMBSTONE_NAME))
        .and_then(|file| file.take(TOMBSTONE_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| error.to_string())?;
    Tombstone::parse(&text)
}

pub(super) struct Join<'a> {
    context: &'a Context<'a>,
    options: &'a Options,
    /// Keys that the headers name.
    named: &'a [PublicKey],
    breaks: Breaks,
    report: Report,
    /// The last record so far.
    last: Option<Place>,
    /// A segment so far was signed.
    is_signed: bool,
}

impl<'a> Join<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        options: &'a Options,
        named: &'a [PublicKey],
    ) -> Self {
        Join {
            context,
            options,
            named,
            breaks: Breaks::default(),
            report: Report::default(),
            last: None,
            is_signed: false,
        }
    }

    pub(super) fn report(
        mut self,
        listing: Listing,
        tombstone: Option<Result<Tombstone, String>>,
        passes: Vec<Pass>,
    ) -> Report {
        let watched: Vec<Place> = passes
            .iter()
            .flat_map(|pass| pass.watched.clone())
            .collect();
        let mut checkpoints = vec![0; self.context.keys.len()];
        self.report.segments = passes.len() as u64;
        let tombstone = tombstone.and_then(|tombstone| self.tombstone(tombstone));
        self.begin(tombstone.as_ref(), passes.first(), &watched);
        let mut passes = passes.into_iter().peekable();
        while let Some(pass) = passes.next() {
            for (sum, more) in checkpoints.iter_mut().zip(&pass.checkpoints) {
                *sum += more;
            }
            let next_key = passes.peek().map(|next| next.key.clone());
            self.segment(pass, next_key);
        }
        self.expected(&watched);
        self.keys(&checkpoints);
        self.finish(&listing)
    }

    fn found(
        &mut self,
        seq: Option<u64>,
        file: &str,
        line: Option<u64>,
        kind: &'static str,
        what: String,
    ) {
        self.breaks.push(Break {
            kind,
            seq,
            file: file.to_owned(),
            line,
            what,
        });
    }

    /// The tombstone, where it is one of this journal's keys.
    fn tombstone(&mut self, read: Result<Tombstone, String>) -> Option<Tombstone> {
        let wrong = match &read {
            Err(reason) => format!("it is no tombstone: {reason}"),
            Ok(tombstone) => match tombstone.public_key() {
                None => "it names a key whose id is another's".to_owned(),
                Some(key) if !self.options.keys.is_empty() && !self.options.keys.contains(&key) => {
                    format!(
                        "it is signed with the key {}, which was not given",
                        key.id()
                    )
                }
                Some(key) if !self.named.contains(&key) => {
                    format!(
                        "it is signed with the key {}, which no segment names",
                        key.id()
                    )
                }
                Some(key) if !tombstone.is_signed(&key) => {
                    "its signature does not hold: it was changed by somebody without the key"
                        .to_owned()
                }
                Some(_) => {
                    self.is_signed = true;
                    self.report.removed = Some(Stretch {
                        from: tombstone.first_seq,
                        to: tombstone.last_seq,
                    });
                    return read.ok();
                }
            },
        };
        let seq = read.ok().map(|tombstone| tombstone.first_seq);
        self.found(seq, TOMBSTONE_NAME, None, "tombstone", wrong);
        None
    }

    /// Whether the chain begins where it should.
    fn begin(&mut self, tombstone: Option<&Tombstone>, first: Option<&Pass>, watched: &[Place]) {
        let begin = match tombstone {
            None => (0, FIRST_PREV.as_str().to_owned()),
            Some(tombstone) => (tombstone.last_seq, tombstone.last_hash.clone()),
        };
        let oldest = first.and_then(|pass| pass.first.as_ref().map(|(seq, _)| *seq));
        // Retention that was cut short leaves segments that the tombstone stands for already.
        let left_over = oldest.is_some_and(|oldest| oldest <= begin.0);
        if !left_over {
            self.last = Some(begin);
            return;
        }
        let is_same = watched.iter().find(|(seq, _)| *seq == begin.0);
        let Some(first) = first else {
            return;
        };
        match is_same {
            Some((_, hash)) if *hash == begin.1 => self.report.notes.push(format!(
                "{} and others up to record {} are there though retention removed them: it was cut short, or they were put back",
                first.name, begin.0
            )),
            _ => {
                let what = format!("it says that record {} has another hash than it has", begin.0);
                self.found(Some(begin.0), TOMBSTONE_NAME, None, "tombstone", what);
            }
        }
        if oldest == Some(1) {
            self.last = Some((0, FIRST_PREV.as_str().to_owned()));
        }
    }

    fn segment(&mut self, mut pass: Pass, next_key: Option<Option<String>>) {
        self.report.records += pass.records;
        self.report.bytes += pass.bytes;
        self.boundary(&pass);
        self.breaks.append(std::mem::take(&mut pass.breaks));
        self.stretches(&pass);
        if !pass.ends_signed
            && pass.has_header
            && let Some(next_key) = next_key
            && next_key == pass.key
        {
            let seq = pass.last.as_ref().map(|(seq, _)| *seq);
            let what = "its last record is no signature, and dbgov signs when it ends a segment: its end was cut or changed";
            self.found(
                seq,
                &pass.name,
                Some(pass.records),
                "unsigned",
                what.to_owned(),
            );
        }
        if let Some((first, _)) = &pass.first {
            self.report.first_seq.get_or_insert(*first);
        }
        if pass.last_checkpoint.is_some() {
            self.report.last_checkpoint_seq = pass.last_checkpoint.as_ref().map(|(seq, _)| *seq);
            self.report.last_checkpoint_hash = pass.last_checkpoint.map(|(_, hash)| hash);
        }
        self.is_signed |= pass.has_header;
        if pass.last.is_some() {
            self.last = pass.last;
        }
    }

    /// Between this segment and what came before it.
    fn boundary(&mut self, pass: &Pass) {
        let Some((seq, prev)) = &pass.first else {
            return;
        };
        let (name, line) = (&pass.name, Some(1));
        let wrong = match &self.last {
            Some((last, _)) if *seq > last.saturating_add(1) => {
                let (from, kind, mut what) = missing(last + 1, seq - 1);
                if *last == 0 {
                    what.push_str(", and no tombstone stands for them");
                }
                Some((from, kind, what))
            }
            Some((last, _)) if *seq <= *last => Some(again(*seq, last + 1)),
            Some((_, hash)) if hash != prev => Some((*seq, "link", LINK.to_owned())),
            _ => None,
        };
        let is_in_place = wrong.is_none();
        if let Some((from, kind, what)) = wrong {
            self.found(Some(from), name, line, kind, what);
        }
        let stamp = segment::stem(name).and_then(|stem| stem.rsplit_once('-'));
        let is_named = segment::first_seq(name) == Some(*seq)
            && stamp.is_some_and(|(stamp, _)| stamp == pass.first_time);
        if is_in_place && !is_named {
            let what = format!(
                "it begins with record {seq} of {}, and its name says otherwise: it was renamed",
                pass.first_time
            );
            self.found(Some(*seq), name, line, "name", what);
        }
        if !pass.has_header && self.is_signed {
            let what = "it has no header, and segments before it have".to_owned();
            self.found(Some(*seq), name, line, "header", what);
        }
    }

    fn stretches(&mut self, pass: &Pass) {
        let from = self.report.last_checkpoint_seq.map_or(1, |seq| seq + 1);
        self.report.unsigned_before_crashes_total += pass.before_crashes_total;
        for stretch in &pass.before_crashes {
            if self.report.unsigned_before_crashes.len() < STRETCHES_MAX {
                self.report.unsigned_before_crashes.push(Stretch {
                    from: if stretch.from == 0 {
                        from
                    } else {
                        stretch.from
                    },
                    to: stretch.to,
                });
            }
        }
    }

    fn expected(&mut self, watched: &[Place]) {
        let Some((seq, hash)) = &self.options.expected else {
            return;
        };
        let what = match watched.iter().find(|(found, _)| found == seq) {
            Some((_, found)) if found == hash => return,
            Some((_, found)) => {
                format!("record {seq} has the hash {found}, and {hash} is expected")
            }
            None => {
                let last = self.last.as_ref().map_or(0, |(seq, _)| *seq);
                format!(
                    "record {seq} is expected and not there; the journal ends with record {last}"
                )
            }
        };
        self.found(Some(*seq), "(the whole journal)", None, "expected", what);
    }

    fn keys(&mut self, checkpoints: &[u64]) {
        for (key, checkpoints) in self.context.keys.iter().zip(checkpoints) {
            self.report.checkpoints += checkpoints;
            self.report.keys.push(KeySeen {
                id: key.id().to_owned(),
                public_key: key.to_hex(),
                checkpoints: *checkpoints,
                given: !self.options.keys.is_empty(),
            });
        }
        if self.report.checkpoints == 0 && !self.options.keys.is_empty() && self.breaks.total == 0 {
            let what = "nothing in it is signed with the given key".to_owned();
            self.found(
                self.report.first_seq,
                "(the whole journal)",
                None,
                "unsigned",
                what,
            );
        }
        if self.named.len() > 1 {
            let ids: Vec<&str> = self.named.iter().map(PublicKey::id).collect();
            let note = format!("the key changed: {}", ids.join(", then "));
            self.report.notes.push(note);
        }
    }

    fn finish(mut self, listing: &Listing) -> Report {
        let signed = self.report.last_checkpoint_seq.unwrap_or(0);
        if let Some((last, hash)) = self.last
            && self.report.first_seq.is_some()
        {
            let from = (signed + 1).max(self.report.first_seq.unwrap_or(1));
            self.report.unsigned_tail = (last >= from).then_some(Stretch { from, to: last });
            (self.report.last_seq, self.report.last_hash) = (Some(last), Some(hash));
        }
        if listing.torn > 0 {
            let note = format!(
                "{} files hold what was cut off the journal's end after crashes (torn-….bin)",
                listing.torn
            );
            self.report.notes.push(note);
        }
        if listing.foreign.1 > 0 {
            let note = format!(
                "{} files are no part of a journal: {}",
                listing.foreign.1,
                listing.foreign.0.join(", ")
            );
            self.report.notes.push(note);
        }
        self.report.origin_proven = !self.options.keys.is_empty() && self.report.checkpoints > 0;
        self.report.intact = self.breaks.total == 0;
        self.report.breaks_total = self.breaks.total;
        self.report.breaks = self.breaks.first;
        self.report
    }
}
