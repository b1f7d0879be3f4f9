//! What is wrong with a policy file, with its place.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::chars::head;

/// Problems told of one file: with more, the first ones are enough to go on with.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// Columns of a source line that are shown.
const LINE_SHOWN_MAX: usize = 160;

/// All that is wrong with a policy file.
#[derive(Debug, Clone)]
pub struct PolicyError {
    pub path: PathBuf,
    /// In the order of the file; at least one.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// The line itself.
    source: String,
    /// Characters that are meant.
    width: usize,
}

impl Problem {
    /// `span`: bytes of the text.
    pub(crate) fn new(text: &str, span: Range<usize>, message: String) -> Self {
        let start = head(text, span.start).len();
        let end = head(text, span.end.max(start)).len();
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let meant = &text[start..end.clamp(start, line_end.max(start))];
        Problem {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            message,
            source: text[line_start..line_end].trim_end().to_owned(),
            width: meant.chars().count().max(1),
        }
    }

    /// With its place, but not with what stands there.
    pub(crate) fn without_source(self) -> Self {
        Problem {
            source: String::new(),
            ..self
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().take(PROBLEMS_SHOWN_MAX).enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {problem}", self.path.display())?;
        }
        if self.problems.len() > PROBLEMS_SHOWN_MAX {
            let more = self.problems.len() - PROBLEMS_SHOWN_MAX;
            write!(f, "\n{}: and {more} more", self.path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )?;
        if self.source.trim().is_empty() || self.column > LINE_SHOWN_MAX {
            return Ok(());
        }
        let shown: String = self
            .source
            .chars()
            .take(LINE_SHOWN_MAX)
            .map(|character| {
                if character.is_control() {
                    ' '
                } else {
                    character
                }
            })
            .collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let before = " ".repeat(self.column - 1);
        let mark = "^".repeat(self.width.min(LINE_SHOWN_MAX + 1 - self.column));
        write!(
            f,
            "\n {margin} |\n {number} | {shown}\n {margin} | {before}{mark}"
        )
    }
}
