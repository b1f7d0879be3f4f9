//! Stand-in for the scanner of SQL-level PREPARE and DEALLOCATE.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    Prepare(String),
    Deallocate(String),
    DeallocateAll,
    DiscardAll,
}

pub fn prepared_statements(text: &str) -> Vec<(usize, Prepared)> {
    let mut found = Vec::new();
    for (index, part) in text.split(';').enumerate() {
        let words: Vec<String> = part.split_whitespace().map(str::to_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let what = match words.as_slice() {
            ["prepare", name, ..] => Prepared::Prepare(name.to_string()),
            ["deallocate", "all"] => Prepared::DeallocateAll,
            ["deallocate", "prepare", name] | ["deallocate", name] => {
                Prepared::Deallocate(name.to_string())
            }
            ["discard", "all"] => Prepared::DiscardAll,
            _ => continue,
        };
        found.push((index, what));
    }
    found
}
