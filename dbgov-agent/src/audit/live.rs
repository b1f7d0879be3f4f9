//! A line of the journal as a person wants to read it: one line of the terminal, and no text from the wire in it that
//! could speak to the terminal. Here it is drawn; `words` has what the records say.
//!
//! ```text
//! 14:03:12.123 agent:sync       app@prod         DELETE FROM t WHERE id = $1 ['7']  3 rows  812 µs
//! 14:03:12.130 agent:sync       app@prod         SELEC 1  ERROR 42601: syntax error at or near "SELEC"  95 µs
//! 14:03:13.001 -                -                !!! GAP: 12 records lost (disk_full)
//! ```

pub(crate) mod text;
mod words;

use std::borrow::Cow;

use jiff::{Timestamp, tz::TimeZone};

use super::view::{Identity, View};
use text::{push_visible, width_columns};
use words::show;

/// Columns of the two that say who; longer names are cut so that the statements stand below each other.
const NAME_COLUMNS: usize = 16;
/// What a statement gets at least before its result is cut instead.
const BODY_COLUMNS_MIN: usize = 20;

/// SGR parameters (ECMA-48 section 8.3.117).
#[derive(Debug, Clone, Copy)]
enum Style {
    Plain,
    Dim,
    Who,
    Good,
    Bad,
    Alarm,
}

impl Style {
    fn sgr(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Dim => "2",
            Style::Who => "36",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Alarm => "1;97;41",
        }
    }
}

/// How lines are shown. The same for `run` and for `audit tail`.
#[derive(Debug, Clone)]
pub struct Renderer {
    pub color: bool,
    /// Width of the terminal; without one nothing is cut but names, parameters and messages.
    pub width_columns: Option<usize>,
    /// Of the times shown: [`TimeZone::system`], or a fixed one in tests.
    pub zone: TimeZone,
}

/// Whether a line of the journal is shown at all.
pub fn is_shown(line: &[u8]) -> bool {
    // Nearly always enough, and much cheaper than to read the line.
    let may_be_hidden = HIDDEN_KINDS
        .iter()
        .any(|kind| memchr::memmem::find(line, kind.as_bytes()).is_some());
    !may_be_hidden || !serde_json::from_slice::<View>(line).is_ok_and(|line| is_hidden(&line))
}

/// The journal's own book-keeping.
const HIDDEN_KINDS: [&str; 2] = ["checkpoint", "segment"];

fn is_hidden(line: &View) -> bool {
    HIDDEN_KINDS.contains(&line.kind.as_str())
}

impl Renderer {
    /// Renders one line of the journal (with or without its newline), without a newline; `None` where it says nothing to
    /// somebody who watches.
    pub fn render(&self, line: &[u8]) -> Option<String> {
        match serde_json::from_slice::<View>(line) {
            Ok(view) => (!is_hidden(&view)).then(|| self.render_fields(&view)),
            Err(_) => Some(self.render_damaged(line)),
        }
    }

    /// As [`render`](Self::render), whatever it says.
    pub fn render_all(&self, line: &[u8]) -> String {
        match serde_json::from_slice::<View>(line) {
            Ok(view) => self.render_fields(&view),
            Err(_) => self.render_damaged(line),
        }
    }

    fn render_damaged(&self, line: &[u8]) -> String {
        let mut out = Out::new(self);
        let raw = String::from_utf8_lossy(line);
        out.push(Style::Bad, &format!("not a record: {raw}"), usize::MAX);
        out.text
    }

    fn render_fields(&self, line: &View) -> String {
        let mut out = Out::new(self);
        out.push(Style::Dim, &self.local_time(&line.time), usize::MAX);
        out.space(1);
        out.push_padded(Style::Who, &shown_identity(&line.identity), NAME_COLUMNS);
        out.space(1);
        out.push_padded(Style::Plain, &place(line), NAME_COLUMNS);
        out.space(1);

        let shown = show(line);
        let tail_columns = visible_columns(&shown.tail);
        let body_columns = match tail_columns {
            0 => out.columns_left,
            _ => out
                .columns_left
                .saturating_sub(tail_columns + 2)
                .max(BODY_COLUMNS_MIN),
        };
        out.push(shown.body_style, &shown.body, body_columns);
        if tail_columns > 0 {
            out.space(2);
            out.push(shown.tail_style, &shown.tail, usize::MAX);
        }
        out.text
    }

    fn local_time(&self, time: &str) -> String {
        let Ok(moment) = time.parse::<Timestamp>() else {
            return format!("{time:12}");
        };
        let local = self.zone.to_datetime(moment);
        format!(
            "{:02}:{:02}:{:02}.{:03}",
            local.hour(),
            local.minute(),
            local.second(),
            local.millisecond()
        )
    }
}

/// What the record says, without time and names: one line of plain text with nothing in it that could speak to a
/// terminal, at most `columns_max` columns.
pub(crate) fn summary(line: &View, columns_max: usize) -> String {
    let shown = show(line);
    let mut text = String::new();
    push_visible(&mut text, &shown.body, columns_max);
    if !shown.tail.is_empty() {
        text.push_str("  ");
        push_visible(&mut text, &shown.tail, columns_max);
    }
    text
}

/// The line in the making: everything passes through here, so nothing gets out unsanitised or beyond the width.
struct Out {
    text: String,
    columns_left: usize,
    color: bool,
}

impl Out {
    fn new(renderer: &Renderer) -> Self {
        Out {
            text: String::new(),
            columns_left: renderer.width_columns.unwrap_or(usize::MAX),
            color: renderer.color,
        }
    }

    /// Says how many columns it took.
    fn push(&mut self, style: Style, text: &str, columns_max: usize) -> usize {
        let sgr = if self.color { style.sgr() } else { "" };
        if !sgr.is_empty() {
            self.text.push_str(&format!("\x1b[{sgr}m"));
        }
        let start = self.text.len();
        push_visible(&mut self.text, text, columns_max.min(self.columns_left));
        let columns = width_columns(&self.text[start..]);
        self.columns_left = self.columns_left.saturating_sub(columns);
        if !sgr.is_empty() {
            self.text.push_str("\x1b[0m");
        }
        columns
    }

    fn push_padded(&mut self, style: Style, text: &str, columns: usize) {
        let text = if text.is_empty() { "-" } else { text };
        let taken = self.push(style, text, columns);
        self.space(columns.saturating_sub(taken));
    }

    fn space(&mut self, columns: usize) {
        let columns = columns.min(self.columns_left);
        self.text.extend(std::iter::repeat_n(' ', columns));
        self.columns_left -= columns;
    }
}

fn visible_columns(text: &str) -> usize {
    let mut visible = String::new();
    push_visible(&mut visible, text, usize::MAX);
    width_columns(&visible)
}

/// `user@database`, as far as known.
fn place(line: &View) -> String {
    let session = &line.session;
    match (session.user.as_str(), session.database.as_str()) {
        ("", "") => session.client_addr.to_string(),
        (user, "") => user.to_owned(),
        ("", database) => format!("?@{database}"),
        (user, database) => format!("{user}@{database}"),
    }
}

/// An OS user alone says little on a host where everything runs as one: the process's name is shown beside it.
fn shown_identity<'a>(identity: &'a Identity) -> Cow<'a, str> {
    if identity.source == "os_user" && !identity.comm.is_empty() {
        return format!("{}/{}", identity.name, identity.comm).into();
    }
    identity.name.as_str().into()
}

#[cfg(test)]
mod tests;
