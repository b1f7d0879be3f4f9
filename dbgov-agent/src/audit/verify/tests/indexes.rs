//! Indexes that are not what they should be.

use super::*;

/// They hide nothing, so they do not break the journal; but they are named.
#[test]
fn bad_indexes_are_named_and_the_journal_is_intact() {
    use crate::audit::index::{self, name};
    use crate::audit::segment;

    let made = Made::new("host-1");
    let names = made.names();
    let (_, complete) = names.split_last().unwrap();
    let build = |segment: &String, key: &PrivateKey| {
        index::build(made.dir(), segment, |message| key.sign(message)).unwrap();
    };
    complete
        .iter()
        .for_each(|segment| build(segment, &made.key));
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.notes.is_empty(), "{report}");
    let all = complete.len() as u64;
    assert_eq!((report.indexes, report.indexes_bad), (all, 0));

    let path = |number: usize| made.dir().join(name(&complete[number]));
    let mut bytes = fs::read(path(0)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path(0), bytes).unwrap();
    let other_dir = tempfile::tempdir().unwrap();
    let stranger = PrivateKey::load_or_create(&other_dir.path().join("k")).unwrap();
    build(&complete[1], &stranger);
    fs::copy(path(3), path(2)).unwrap();
    fs::rename(path(3), made.dir().join(name(&segment::name(0, 1)))).unwrap();
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact, "{report}");
    assert_eq!((report.indexes, report.indexes_bad), (all - 4, 4));
    for (note, why) in [
        (0, "has not signed it"),
        (1, "has not signed it"),
        (2, "of another segment"),
        (3, "no segment it could be of"),
    ] {
        assert!(report.notes[note].contains(why), "{:#?}", report.notes);
    }
    assert!(report.to_string().contains(&name(&complete[0])), "{report}");
    // More than are told one by one; and removed, nothing is said.
    complete
        .iter()
        .for_each(|segment| build(segment, &stranger));
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.notes.len() <= 11, "{report}");
    assert_eq!(report.indexes_bad, all + 1);
    for file in fs::read_dir(made.dir()).unwrap().flatten() {
        if file.path().extension().is_some_and(|end| end == "idx") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let report = verify(made.dir(), &made.options()).unwrap();
    assert!(report.intact && report.notes.is_empty(), "{report}");
}
