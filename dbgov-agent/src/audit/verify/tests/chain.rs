//! The chain hashed anew, by somebody who can, and has no key or another one.

use super::*;

/// What somebody does who hashes everything behind it anew, and has no key.
#[test]
fn the_chain_hashed_anew() {
    let made = Made::new("host-1");
    let pristine = Forge::read(made.dir());
    let checkpoint = pristine.find("checkpoint");
    let segment = pristine.segment_start(1);
    type Act = fn(&mut Forge);
    let cases: [(&str, Act, &str, usize); 12] = [
        // The first signature over it is the first thing that does not fit.
        (
            "a text changed",
            |f| f.replace(3, "SELECT", "DELETE"),
            "signature",
            checkpoint + 1,
        ),
        (
            "a record removed",
            |f| drop(f.lines.remove(3)),
            "signature",
            checkpoint,
        ),
        (
            "a record inserted",
            |f| f.lines.insert(3, f.lines[3].clone()),
            "signature",
            checkpoint + 2,
        ),
        ("two swapped", |f| f.swap(3, 4), "signature", checkpoint + 1),
        (
            "the first header changed",
            |f| f.replace(0, "\"agent_version\":\"0", "\"agent_version\":\"9"),
            "signature",
            3,
        ),
        (
            "another header of its own",
            |f| {
                let at = f.segment_start(1);
                f.replace(at, "\"agent_version\":\"0", "\"agent_version\":\"9");
            },
            "signature",
            0,
        ),
        (
            "a checkpoint's reason changed",
            |f| {
                let at = f.find("checkpoint");
                f.replace(at, "\"reason\":\"", "\"reason\":\"x");
            },
            "signature",
            checkpoint + 1,
        ),
        (
            "a checkpoint's time changed",
            |f| {
                let at = f.find("checkpoint");
                f.replace(at, "\"time\":\"20", "\"time\":\"21");
            },
            "signature",
            checkpoint + 1,
        ),
        (
            "more in a checkpoint",
            |f| {
                let at = f.find("checkpoint");
                f.replace(at, "{\"key\"", "{\"also\":1,\"key\"");
            },
            "signature",
            checkpoint + 1,
        ),
        (
            "whitespace",
            |f| f.replace(3, "\"kind\":\"statement\"", "\"kind\": \"statement\""),
            "unreadable",
            4,
        ),
        (
            "a key twice",
            |f| f.replace(3, "\"seq\":4", "\"seq\":4,\"seq\":4"),
            "unreadable",
            4,
        ),
        (
            "keys in another order",
            |f| {
                f.replace(
                    3,
                    "\"parse\":\"ok\",\"tables\":[\"pgbench_accounts\"]",
                    "\"tables\":[\"pgbench_accounts\"],\"parse\":\"ok\"",
                )
            },
            "unreadable",
            4,
        ),
    ];
    for (what, act, kind, seq) in cases {
        let mut forge = pristine.clone();
        act(&mut forge);
        forge.rehash();
        forge.write(made.dir());
        let expected = if seq == 0 {
            // The first signature of the second segment.
            (segment..)
                .find(|at| pristine.lines[*at].text.contains("\"kind\":\"checkpoint\""))
                .unwrap()
                + 1
        } else {
            seq
        };
        let found = first(made.dir(), &made.options());
        assert_eq!(found, Some((kind, Some(expected as u64))), "{what}");
    }
    // All signatures taken out as well: segments that do not end with one.
    let mut forge = pristine.clone();
    forge.replace(3, "SELECT", "DELETE");
    forge
        .lines
        .retain(|line| !line.text.contains("\"kind\":\"checkpoint\""));
    forge.rehash();
    forge.write(made.dir());
    let found = first(made.dir(), &made.options());
    let end = forge.segment_start(1);
    assert_eq!(found, Some(("unsigned", Some(end as u64))));
    // All in one segment: more records than may go unsigned.
    let mut forge = pristine.clone();
    forge.lines.retain(|line| {
        !line.text.contains("\"kind\":\"checkpoint\"")
            && !line.text.contains("\"kind\":\"segment\"")
            || line.text.contains("\"seq\":1,")
    });
    let one = forge.lines[0].file.clone();
    forge
        .lines
        .iter_mut()
        .for_each(|line| line.file.clone_from(&one));
    forge.rehash();
    for name in made.names() {
        fs::remove_file(made.dir().join(name)).unwrap();
    }
    forge.write(made.dir());
    assert!(matches!(
        first(made.dir(), &made.options()),
        Some(("unsigned", Some(1)))
    ));
}

#[test]
fn keys_of_others() {
    let made = Made::new("host-1");
    let other = Made::new("host-1");
    // Signed by another key from the beginning: consistent, and not ours.
    let swapped = made.options();
    assert_eq!(first(other.dir(), &swapped), Some(("key", Some(1))));
    assert_eq!(first(other.dir(), &Options::default()), None);

    // A journal cut at a place and gone on with by another key.
    let pristine = Forge::read(made.dir());
    let cut = pristine.segment_start(2);
    let mut forge = pristine.clone();
    forge.lines.truncate(cut);
    forge.write(made.dir());
    for name in made.names() {
        if segment::first_seq(&name).unwrap() > cut as u64 {
            fs::remove_file(made.dir().join(name)).unwrap();
        }
    }
    made.go_on(Arc::clone(&other.key), 10);
    assert_eq!(
        first(made.dir(), &made.options()),
        Some(("key", Some(cut as u64 + 1)))
    );
    let report = verify(made.dir(), &Options::default()).unwrap();
    assert!(
        report.intact && report.to_string().contains("the key changed"),
        "{report}"
    );
    // Where both keys are known to be the host's it is in order.
    let mut both = made.options();
    both.keys.push(other.key.public().clone());
    assert_eq!(first(made.dir(), &both), None);
    // A header that names a key under the id of another.
    let mut forge = pristine.clone();
    forge.replace(0, &made.key.public().to_hex(), &other.key.public().to_hex());
    forge.rehash();
    forge.write(made.dir());
    assert_eq!(
        first(made.dir(), &made.options()),
        Some(("header", Some(1)))
    );
}
