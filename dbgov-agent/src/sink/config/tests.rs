use super::*;
use crate::config::Config;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/dbgov/dbgov.toml")).map_err(|error| error.to_string())
}

fn one(keys: &str) -> Result<SinkConfig, String> {
    let mut config = parse(&format!("[[sink]]\nname = \"siem\"\n{keys}"))?;
    Ok(config.sinks.remove(0))
}

#[test]
fn none_are_the_default() {
    assert!(parse("").unwrap().sinks.is_empty());
}

#[test]
fn defaults_and_everything_given() {
    let sink = one("type = \"stdout\"").unwrap();
    assert_eq!(sink.name.as_str(), "siem");
    assert_eq!(sink.kind.name(), "stdout");
    assert_eq!((sink.format, sink.start), (Format::Native, Start::Oldest));
    assert_eq!(sink.batch, Batch::default());
    assert_eq!(sink.timeout, Duration::from_secs(30));

    let sink = one(
        "type = \"syslog\"\nformat = \"cef\"\nstart = \"newest\"\nbatch_records_max = 7\nbatch_bytes_max = 8\n\
         batch_interval_ms = 9\ntimeout_ms = 1000\naddress = \"siem.example\"\ntransport = \"tls\"\n\
         filter = { kinds = [\"statement\"], verdicts = [\"reset\"] }\ntls = { ca = \"ca.pem\", certificate = \"c.pem\", key = \"/k.pem\" }",
    )
    .unwrap();
    assert_eq!((sink.format, sink.start), (Format::Cef, Start::Newest));
    let batch = (
        sink.batch.records_max,
        sink.batch.bytes_max,
        sink.batch.interval.as_millis(),
    );
    assert_eq!(batch, (7, 8, 9));
    assert_eq!(sink.timeout, Duration::from_secs(1));
    let SinkKind::Syslog(syslog) = &sink.kind else {
        panic!("{sink:?}");
    };
    assert_eq!((&*syslog.host, syslog.port), ("siem.example", 6514));
    let tls = syslog.tls.as_ref().unwrap();
    assert_eq!(tls.ca.as_deref(), Some(Path::new("/etc/dbgov/ca.pem")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("/k.pem")));
}

#[test]
fn addresses() {
    let address = |text: &str| -> Result<(String, u16), String> {
        let sink = one(&format!(
            "type = \"syslog\"\ntransport = \"udp\"\naddress = {text:?}"
        ))?;
        match sink.kind {
            SinkKind::Syslog(config) => Ok((config.host, config.port)),
            other => panic!("{other:?}"),
        }
    };
    for (text, host, port) in [
        ("siem", "siem", 514),
        ("siem.example:1514", "siem.example", 1514),
        ("192.0.2.1:99", "192.0.2.1", 99),
        ("[2001:db8::1]", "2001:db8::1", 514),
        ("[::1]:99", "::1", 99),
    ] {
        assert_eq!(address(text), Ok((host.to_owned(), port)), "{text}");
    }
    for text in [
        "",
        ":514",
        "siem:",
        "siem:0",
        "siem:70000",
        "::1",
        "[::1",
        "[::1]514",
        "a b",
        "udp://siem",
    ] {
        assert!(address(text).unwrap_err().contains("address = "), "{text}");
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (keys, expected) in [
        ("", "line 2, column 1: missing field `type`"),
        (
            "type = \"smtp\"",
            "line 3, column 8: unknown variant `smtp`, expected one of `elasticsearch`, `file`",
        ),
        (
            "type = \"syslog\"\naddress = \"a\"",
            "missing field `transport`",
        ),
        (
            "type = \"syslog\"\naddress = 5\ntransport = \"tcp\"",
            "line 4, column 11: invalid type: integer `5`",
        ),
        (
            "type = \"stdout\"\nformt = \"cef\"",
            "line 4, column 1: unknown field `formt`",
        ),
        (
            "type = \"stdout\"\nformt = \"cef\"",
            "of every sink: name, type, format",
        ),
        (
            "type = \"stdout\"\nformat = \"xml\"",
            "line 4, column 10: unknown variant `xml`",
        ),
        (
            "type = \"stdout\"\nbatch_records_max = 0",
            "line 4, column 21: batch_records_max = 0: give 1 to 100000",
        ),
        ("type = \"stdout\"\ntimeout_ms = 1", "give 500 to 600000"),
        (
            "type = \"stdout\"\nfilter = { kinds = [\"x\"] }",
            "line 4, column 10: there is no kind \"x\"",
        ),
        (
            "type = \"stdout\"\nfilter = { verdicts = [\"denied\"] }",
            "line 4, column 10: there is no verdict \"denied\"; there are allow",
        ),
        (
            "type = \"stdout\"\nfilter = { users = [\"a\"] }",
            "line 4, column 10: unknown field `users`, expected one of `kinds`",
        ),
        ("type = \"file\"", "line 2, column 1: missing field `path`"),
        (
            "type = \"stdout\"\n[[sink]]\nname = \"siem\"\ntype = \"stdout\"",
            "line 5, column 8: there is a sink \"siem\" already",
        ),
        (
            "type = \"stdout\"\n[[sink]]\nname = \"b\"\ntype = \"stdout\"",
            "a sink of type \"stdout\" already",
        ),
        (
            "type = \"syslog\"\naddress = \"a\"\ntransport = \"tcp\"\ntls = {}",
            "tls is only for transport",
        ),
        (
            "type = \"syslog\"\naddress = \"a\"\ntransport = \"tcp\"\ntls = { caa = \"x\" }",
            "line 6, column 7: unknown field `caa`",
        ),
        (
            "type = \"syslog\"\naddress = \"a\"\ntransport = \"udp\"\nframing = \"lines\"",
            "framing is only for",
        ),
        (
            "type = \"syslog\"\naddress = \"a\"\ntransport = \"udp\"\nmessage_bytes_max = 70000",
            "give 480 to 65507",
        ),
        (
            "type = \"syslog\"\naddress = \"a\"\ntransport = \"udp\"\nfacility = \"local9\"",
            "line 6, column 12: there is no facility",
        ),
    ] {
        let error = one(keys).unwrap_err();
        assert!(error.contains(expected), "{keys}: {error}");
    }
    let error = parse("[[sink]]\nname = \"Si/em\"\ntype = \"stdout\"").unwrap_err();
    assert!(
        error.contains("line 2, column 8: \"Si/em\": a sink's name"),
        "{error}"
    );
    assert!(
        parse("[sink]\nname = \"a\"")
            .unwrap_err()
            .contains("[[sink]]")
    );
}

#[test]
fn lines_with_secrets_are_not_shown() {
    for text in [
        "[[sink]]\nname = \"a\"\ntype = \"stdout\"\ntoken = \"hunter2\"",
        "[[sink]]\nname = \"a\"\ntype = \"stdout\"\ntoken = \"hunter2",
        "[[sink]]\nname = \"a\"\nkey_password = hunter2",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("line "), "{error}");
    }
}
