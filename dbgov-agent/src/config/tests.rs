use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("dbgov.toml")).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.ports(), [5432]);
    assert!(config.discovers());
    assert_eq!(config.audit.dir, Path::new("/var/lib/dbgov/audit"));
}

#[test]
fn configured_servers_are_the_only_ones_unless_discovery_is_asked_for() {
    let config =
        parse("[[server]]\nport = 6000\n[[server]]\nprotocol = \"postgresql\"\nport = 6001")
            .unwrap();
    assert_eq!(config.ports(), [6000, 6001]);
    assert!(!config.discovers());
    assert!(
        parse("[capture]\ndiscover = true\n[[server]]\nport = 6000")
            .unwrap()
            .discovers()
    );
}

#[test]
fn the_policy_lies_beside_the_configuration() {
    let config = |text| Config::parse(text, Path::new("/etc/dbgov/dbgov.toml")).unwrap();
    let policy = config("[policy]\nfile = \"policy.toml\"").policy.unwrap();
    assert_eq!(policy.file, Path::new("/etc/dbgov/policy.toml"));
    assert_eq!(policy.mode, PolicyMode::Enforce);
    let policy = config("[policy]\nfile = \"/p.toml\"\nmode = \"observe\"")
        .policy
        .unwrap();
    assert_eq!(policy.file, Path::new("/p.toml"));
    assert_eq!(policy.mode, PolicyMode::Observe);
    assert!(config("").policy.is_none());
    assert!(config("[audit]\nlossless = true").audit.lossless);
}

#[test]
fn the_key_lies_beside_the_journal() {
    let key = |text| parse(text).unwrap().audit.key_path();
    assert_eq!(key(""), Path::new("/var/lib/dbgov/audit.key"));
    assert_eq!(key("[audit]\ndir = \"/j/\""), Path::new("/j.key"));
    assert_eq!(key("[audit]\nkey = \"/k\""), Path::new("/k"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in [
        ("[audit]\ndri = \"/x\"", "line 2, column 1"),
        (
            "[audit]\ndri = \"/x\"",
            "unknown field `dri`, expected one of `dir`",
        ),
        ("[[server]]\nport = 70000", "line 2, column 8"),
        ("[[server]]\nport = 0", "give the port"),
        (
            "[[server]]\nprotocol = \"oracle\"\nport = 1",
            "unknown variant `oracle`, expected `postgresql`",
        ),
        ("[policy]\nmode = \"enforce\"", "missing field `file`"),
        ("[policy]\nfile = \"\"", "[policy] file is empty"),
        (
            "[policy]\nfile = \"p\"\nmode = \"watch\"",
            "unknown variant `watch`, expected `enforce` or `observe`",
        ),
        (
            "[agent]\nlisten = \"localhost\"",
            "give an address and a port",
        ),
        (
            "[agent]\nlisten = \"127.0.0.1\"",
            "give an address and a port",
        ),
        ("[capture]\nring_bytes = 5000000", "power of two"),
        ("[identity]\ncgroup = \"/\"", "[identity] cgroup"),
        ("[identity]\ncgroup = \"/a/../b\"", "[identity] cgroup"),
        ("[[exec]]\nnames = [\"a{b}\"]", "line 2, column 9"),
        ("[[exec]]\nnames = [\"a\"]", "lets nobody"),
        ("[[exec]]\nnames = []\nusers = [\"u\"]", "names is empty"),
        ("[[exec]]\nusers = [\"u\"]", "missing field `names`"),
        ("[[tag]]\nname = \"a b\"\nunit = \"x\"", "line 2, column 8"),
        (
            "[audit]\ncheckpoint_records = 0",
            "[audit] checkpoint_records",
        ),
        (
            "[audit]\ncheckpoint_records = 1000000",
            "[audit] checkpoint_records",
        ),
        (
            "[audit]\ncheckpoint_interval_ms = 0",
            "checkpoint_interval_ms",
        ),
        (
            "[audit.retention]\nbytes_max = 1000",
            "at least what one segment",
        ),
        ("[audit]\ndir = \"/j\"\nkey = \"/j/key\"", "outside /j"),
        ("[agent", "line 1"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}
