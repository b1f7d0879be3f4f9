//! Columns for a person.

use crate::audit::live::text::{push_visible, width_columns};

/// Rows of cells, each column as wide as its widest cell.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widest: [usize; COLUMNS] = std::array::from_fn(|column| {
        let widths = rows.iter().map(|row| width_columns(&row[column]));
        widths.max().unwrap_or_default()
    });
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            // Nothing follows the last one.
            if column + 1 < COLUMNS {
                let gap = widest[column] - width_columns(cell) + 2;
                out.extend(std::iter::repeat_n(' ', gap));
            }
        }
        out.push('\n');
    }
    out
}

/// On one line, and nothing that plays with the terminal: statements and names are what clients say.
pub(super) fn visible(text: &str, columns_max: usize) -> String {
    let mut out = String::new();
    push_visible(&mut out, text, columns_max);
    out
}
