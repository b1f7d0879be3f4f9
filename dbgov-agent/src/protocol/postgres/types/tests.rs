use super::*;
use proptest::prelude::*;

/// Object id, binary form in hex, text form; made by the SQL beside it on a real server.
const SERVER_VALUES: &str = include_str!("../../../../tests/fixtures/pg_binary_values.tsv");

fn decode(type_oid: u32, hex: &str) -> String {
    let bytes = hex::decode(hex).unwrap();
    binary_param(type_oid, &bytes, &ClientEncoding::utf8())
}

/// Undoes what COPY does to a text column.
fn unescape(field: &str) -> String {
    let mut text = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\x08',
                'f' => '\x0C',
                'v' => '\x0B',
                other => other,
            },
            other => other,
        });
    }
    text
}

#[test]
fn values_read_as_the_server_writes_them() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in SERVER_VALUES.lines() {
        let [oid, hex, text] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (decoded, text) = (decode(oid.parse().unwrap(), hex), unescape(text));
        count += 1;
        if decoded != text {
            wrong.push(format!("{oid} {hex}: {decoded} is not {text}"));
        }
    }
    assert!(count > 500, "{count} values");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_cut_or_longer_value_is_never_read_as_fixed_one() {
    let utf8 = ClientEncoding::utf8();
    for oid in [
        16, 20, 21, 23, 26, 700, 701, 1082, 1114, 1184, 1186, 1266, 1700, 2950, 869, 829,
    ] {
        let line = SERVER_VALUES
            .lines()
            .find(|line| line.starts_with(&format!("{oid}\t")))
            .unwrap();
        let bytes = hex::decode(line.split('\t').nth(1).unwrap()).unwrap();
        let longer = [&bytes[..], &[0]].concat();
        for wrong in (0..bytes.len())
            .map(|end| &bytes[..end])
            .chain([&longer[..]])
        {
            let expected = format!("\\x{}", hex::encode(wrong));
            assert_eq!(binary_param(oid, wrong, &utf8), expected, "{oid}");
        }
    }
}

#[test]
fn what_is_not_known_or_not_valid_is_hex() {
    assert_eq!(decode(0, "00ff"), "\\x00ff");
    assert_eq!(decode(790, "0000000000000064"), "\\x0000000000000064");
    assert_eq!(decode(16_384, ""), "\\x");
    // numeric: a digit of 10000, an unknown sign
    assert_eq!(
        decode(1700, "00010000000000002710"),
        "\\x00010000000000002710"
    );
    assert_eq!(decode(1700, "0001000080000000"), "\\x0001000080000000");
    // jsonb of version 2
    assert_eq!(decode(3802, "027b7d"), "\\x027b7d");
    // a day past the calendar, 24:00:00.000001, a zone of 16 hours
    assert_eq!(decode(1082, "7ffffffe"), "\\x7ffffffe");
    assert_eq!(decode(1083, "000000141dd76001"), "\\x000000141dd76001");
    assert_eq!(
        decode(1266, "00000000000000000000e100"),
        "\\x00000000000000000000e100"
    );
    // an IPv4 address with 33 bits of mask; bits without their bytes
    assert_eq!(decode(869, "022100047f000001"), "\\x022100047f000001");
    assert_eq!(decode(1560, "7fffffffff"), "\\x7fffffffff");
}

#[test]
fn forms_no_version_15_sends() {
    // "char" beyond ASCII is octal since 16, intervals are infinite since 17.
    assert_eq!(decode(18, "e9"), "\\351");
    assert_eq!(decode(1186, "7fffffffffffffff7fffffff7fffffff"), "infinity");
    assert_eq!(
        decode(
            1186,
            "800000000000000080000000 80000000"
                .replace(' ', "")
                .as_str()
        ),
        "-infinity"
    );
    // numeric: digits the scale hides, minus zero, zeros in front
    assert_eq!(decode(1700, "0002000000000001000109c4"), "1.2");
    assert_eq!(decode(1700, "0001ffff400000020001"), "0.00");
    assert_eq!(decode(1700, "000200014000000000000007"), "-7");
    // reg* types: the number, as the name is in the catalog
    assert_eq!(decode(2205, "00000485"), "1157");
    // true is any byte but 0
    assert_eq!(decode(16, "02"), "t");
}

#[test]
fn hostile_arrays_cost_nothing() {
    for hex in [
        "00000007000000000000001700000001000000010000000400000001", // 7 dimensions
        "000000010000000000000017 7fffffff00000001",                // two billion items
        "000000020000000000000017 0001000000000001 0001000000000001",
        "000000010000000000000017 ffffffff00000001",
        "000000010000000000000019 0000000100000001 0000000400000001", // text[] said to be int4[]
        "000000010000000000000017 0000000100000001 0000000500000001",
        "000000010000000000000017 0000000100000001 fffffffe",
        "000000010000000200000017 0000000100000001 ffffffff",
        "0000000100000000000000170000000000000001ff",
    ] {
        let hex = hex.replace(' ', "");
        assert_eq!(decode(1007, &hex), format!("\\x{hex}"));
    }
    // A numeric of 131,072 digits in 10 bytes, 300 times over.
    let item = "0000000a00017fff000000000001";
    let hex = format!(
        "0000000100000000000006a4 0000012c00000001{}",
        item.repeat(300)
    );
    let hex = hex.replace(' ', "");
    assert_eq!(decode(1231, &hex), format!("\\x{hex}"));
    assert_eq!(decode(1700, &item[8..]).len(), 131_069);
}

#[test]
fn texts_are_decoded_from_the_clients_encoding() {
    let latin1 = ClientEncoding::from_name("LATIN1");
    assert_eq!(text_param(b"\xE9", &latin1), "é");
    assert_eq!(binary_param(25, b"\xE9", &latin1), "é");
    assert_eq!(binary_param(3802, b"\x01\"\xE9\"", &latin1), "\"é\"");
    assert_eq!(binary_param(142, "<é/>".as_bytes(), &latin1), "<é/>");
    assert_eq!(text_param(b"a\xFF", &ClientEncoding::utf8()), "a\u{FFFD}");
    let array = hex::decode("0000000100000000000000190000000100000001 00000001e9".replace(' ', ""));
    assert_eq!(binary_param(1009, &array.unwrap(), &latin1), "{é}");
}

proptest! {
    #[test]
    fn any_bytes_of_any_type(index in 0_usize..6000, bytes: Vec<u8>) {
        let oid = u32::try_from(index).unwrap();
        let text = binary_param(oid, &bytes, &ClientEncoding::utf8());
        prop_assert!(text.len() <= 300 * 1024);
    }

    #[test]
    fn floats_read_back(value: f64, single: f32) {
        let text = decode(701, &hex::encode(value.to_be_bytes()));
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
        let text = decode(700, &hex::encode(single.to_be_bytes()));
        prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), single.to_bits());
    }
}
