//! Settings and encodings that make the server read other words than those that are written.

use dbgov_tests::Result;
use dbgov_tests::postgres::Options;
use dbgov_tests::wire;

use crate::stand::{Case, Stand};

/// With backslashes as escapes this is a string and a statement, without them one string.
const BACKSLASH: &str = "SELECT '\\'; DROP TABLE {t}; --'";
const OFF: &str = "standard_conforming_strings";

/// In these encodings 0x5c is the second byte of a character. To who takes it for a backslash the string goes on.
const MULTIBYTE: &[(&str, &[u8])] = &[
    ("SJIS", b"\x95\x5c"),
    ("BIG5", b"\xa5\x5c"),
    ("GBK", b"\x95\x5c"),
    ("GB18030", b"\x95\x5c"),
    ("UHC", b"\x8f\x41"),
    ("SJIS", b"\xb1"),
    ("LATIN1", b"\xe9"),
    ("EUC_JP", b"\xb0\xa1"),
];

fn backslashes() -> Vec<Case> {
    let attempt = || Case::query("no-drop", BACKSLASH);
    vec![
        attempt().after(format!("SET {OFF} = off")),
        attempt().after(format!("SET {OFF} TO 0")),
        attempt().after(format!("SELECT set_config('{OFF}', 'off', false)")),
        attempt().after("SELECT set_config('standard_' || 'conforming_strings', 'off', false)"),
        attempt().after(format!(
            "UPDATE pg_settings SET setting = 'off' WHERE name = '{OFF}'"
        )),
        attempt().after(format!("SET LOCAL {OFF} = on; SET {OFF} = off")),
        attempt().with(OFF, "off"),
        attempt().with("options", &format!("-c {OFF}=off")),
        attempt().with("options", "--standard-conforming-strings=off"),
        attempt()
            .made(&format!(
                "CREATE ROLE r{{n}} LOGIN SUPERUSER; ALTER ROLE r{{n}} SET {OFF} = off"
            ))
            .with("user", "r{n}"),
        Case::raw(
            "off and used in one packet",
            "no-drop",
            [
                wire::query(&format!("SET {OFF} = off")),
                wire::query("SELECT '\\'; DROP TABLE v10; --'"),
            ]
            .concat(),
        )
        .answered(),
        Case::query("no-drop", format!("SET {OFF} = off; {BACKSLASH}")),
        Case::query(
            "no-drop",
            format!("BEGIN; SET LOCAL {OFF} = off; {BACKSLASH}"),
        ),
        attempt().after(format!("BEGIN; SET LOCAL {OFF} = off")),
        attempt()
            .after(format!("SET {OFF} = off"))
            .after("BEGIN")
            .after(format!("SET {OFF} = on"))
            .after("ROLLBACK"),
        Case::query("no-drop", "SELECT 'a\\'' ; DROP TABLE {t} --'")
            .after(format!("SET {OFF} = off")),
    ]
}

fn characters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (encoding, character) in MULTIBYTE {
        let texts = [
            [&b"SELECT E'"[..], character, b"'; DROP TABLE {t}; --'"].concat(),
            [&b"SELECT '"[..], character, b"'; DROP TABLE {t}; --'"].concat(),
            [&b"/*"[..], character, b"*/ DROP TABLE {t}"].concat(),
            [&b"SELECT 1 \""[..], character, b"\"; DROP TABLE {t}"].concat(),
        ];
        for text in texts {
            let named = |mut case: Case, how: &str| {
                case.name = format!("{encoding} {how}: {}", case.name);
                case
            };
            let set = format!("SET client_encoding = '{encoding}'");
            let case = Case::query("no-drop", text);
            cases.push(named(case.clone().after(set), "by SET"));
            cases.push(named(
                case.with("client_encoding", encoding),
                "at the start",
            ));
        }
    }
    let names = Case::query("no-drop", "DROP TABLE {t}").after("SET NAMES 'SJIS'");
    cases.push(names);
    let together = [
        wire::query("SET client_encoding = 'SJIS'"),
        wire::message(b'Q', b"SELECT E'\x95\x5c'; DROP TABLE after_it; --'\0"),
    ];
    cases.push(
        Case::raw(
            "SJIS set and used in one packet",
            "no-drop",
            together.concat(),
        )
        .answered(),
    );
    let before_auth = Case::query("no-drop", &b"SELECT E'\x95\x5c'; DROP TABLE {t}; --'"[..])
        .with("options", "-c client_encoding=sjis");
    cases.push(before_auth);
    cases
}

#[test]
fn whatever_the_settings() -> Result<()> {
    let cases = [backslashes(), characters()].concat();
    let mut stand = Stand::start(&Options::default(), cases.len())?;
    stand.try_all(&cases)?;
    stand.judge(&cases)
}
