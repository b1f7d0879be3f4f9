//! The keys of the sinks over the network.

use std::path::Path;

use crate::config::Config;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/dbgov/dbgov.toml")).map_err(|error| error.to_string())
}

fn one(keys: &str) -> Result<Config, String> {
    parse(&format!("[[sink]]\nname = \"siem\"\n{keys}"))
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let document = include_str!("../../../../docs/sinks.md");
    let mut kinds = Vec::new();
    for block in document.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let config = parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        kinds.extend(config.sinks.iter().map(|sink| sink.kind.name()));
    }
    for kind in [
        "elasticsearch",
        "kafka",
        "nats",
        "otlp",
        "splunk",
        "webhook",
    ] {
        assert!(kinds.contains(&kind), "no example of {kind}");
    }
}

#[test]
fn mistakes_are_named() {
    for (keys, expected) in [
        (
            "type = \"splunk\"\nurl = \"https://h\"",
            "missing field `token`",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = 5",
            "give a secret as a text, or as { file",
        ),
        (
            "type = \"splunk\"\nurl = \"https://u:p@h\"\ntoken = \"t\"",
            "keys of their own",
        ),
        (
            "type = \"splunk\"\nurl = \"http://h\"\ntoken = \"t\"\ntls = {}",
            "tls is for urls that begin with https:",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = \"t\"\ntls = { server_name = \"x\" }",
            "write that name into the url",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = \"t\"\nacknowledg = false",
            "line 6, column 1: unknown field `acknowledg`",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nheaders = { \"a b\" = \"c\" }",
            "no name of a header",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nsignature_header = \"X\"",
            "needs signature_secret",
        ),
        (
            "type = \"elasticsearch\"\nurl = \"https://h\"\nindex = \"A\"",
            "capital letters",
        ),
        (
            "type = \"elasticsearch\"\nurl = \"https://h\"\nindex = \"a\"\nuser = \"u\"",
            "give user and password, or api_key_token",
        ),
        (
            "type = \"otlp\"\nurl = \"https://h\"\nproxy = \"http://p\"",
            "proxy is only for",
        ),
        (
            "type = \"kafka\"\nbrokers = []\ntopic = \"t\"",
            "brokers: give one",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntopic = \"a b\"",
            "topic = \"a b\"",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntopic = \"t\"\nproperties = { acks = 0 }",
            "\"acks\" cannot be set here",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntopic = \"t\"\nuser = \"u\"",
            "give all of sasl_mechanism",
        ),
        (
            "type = \"webhook\"",
            "line 2, column 1: missing field `url`",
        ),
        (
            "type = \"webhook\"\nurl = \"hooks.example/x\"",
            "line 4, column 7: url: relative URL without a base; give one such as \"https://siem.example:8088\"",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h:70000\"",
            "line 4, column 7: url: invalid port number",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nproxy = \"socks5://p\"",
            "line 5, column 9: proxy: give one that begins with",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nproxy = \"http://u:p@p\"",
            "line 5, column 9: proxy: give user and password in keys of their own, proxy_user and proxy_password",
        ),
        (
            "type = \"webhook\"\nurl = \"http://h\"\nproxy = \"https://p\"",
            "proxy: for a url that begins with http:",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nproxy = \"http://p\"\nproxy_user = \"u\"",
            "give both of proxy_user and proxy_password",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nproxy_user = \"u\"\nproxy_password = \"p\"",
            "proxy_user and proxy_password need proxy",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = \"t\"\ntoken_file = \"/t\"",
            "line 6, column 1: unknown field `token_file`",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken_file = \"/t\"",
            "a secret in another place is written as token = { file = \"PATH\" }",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = { file = \"/t\", env = \"T\" }",
            "line 5, column 9: give a text, { file = \"PATH\" } or { env = \"NAME\" }",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = \"t\"\ntls = { certificate = \"c\" }",
            "line 6, column 7: tls.key is missing",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\ntls = { key = \"k\" }",
            "line 5, column 7: tls.certificate is missing",
        ),
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = \"t\"\nacknowledge_timeout_ms = 0",
            "acknowledge_timeout_ms = 0: give 1000 to 3600000",
        ),
        (
            "type = \"elasticsearch\"\nformat = \"cef\"\nurl = \"http://h\"\nindex = \"a\"",
            "line 4, column 10: format: Elasticsearch takes only those that are JSON",
        ),
        (
            "type = \"webhook\"\nformat = \"leef\"\nurl = \"http://h\"\nframing = \"array\"",
            "line 4, column 10: format: framing = \"array\" needs one that is JSON",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\", \"h:99999\"]\ntopic = \"t\"",
            "brokers: number 2 of them: give HOST or HOST:PORT",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"SSL://h:9093\"]\ntopic = \"t\"",
            "without a scheme",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a\"]\ntopic = \"t\"\nsasl_mechanism = \"GSSAPI\"",
            "line 6, column 18: unknown variant `GSSAPI`, expected one of `PLAIN`, `SCRAM-SHA-256`",
        ),
        (
            "type = \"nats\"\nservers = [\"nats://h:99999\"]",
            "servers: NATS server URL is invalid: invalid port number",
        ),
        (
            "type = \"nats\"\nservers = [\"ws://h\"]",
            "begin with nats:// or tls://",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\nstream = \"S\"\ncreate_stream = { replicas = 0 }",
            "create_stream.replicas: give 1 to 5",
        ),
        ("type = \"nats\"\nservers = []", "servers is empty"),
        (
            "type = \"nats\"\nservers = [\"nats://u:p@h\"]",
            "in keys of their own",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\nsubject = \"a..b\"",
            "is no subject",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\ncreate_stream = {}",
            "create_stream needs stream",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\ntoken = \"t\"\ncredentials = \"c\"",
            "give one of credentials",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\nin_flight_max = 0",
            "give 1 to 4096",
        ),
    ] {
        let error = one(keys).unwrap_err();
        assert!(error.contains(expected), "{keys}: {error}");
        assert!(!error.contains("u:p@"), "{error}");
    }
}

/// What can be wrong without asking anybody is an error at the start.
#[test]
fn files_and_values_are_looked_at_before_the_agent_starts() {
    for (keys, expected) in [
        (
            "type = \"splunk\"\nurl = \"https://h\"\ntoken = { file = \"/no/such/token\" }\ntls = {}",
            "/no/such/token",
        ),
        (
            "type = \"otlp\"\nurl = \"https://h\"\ntls = { ca = \"/no/such/ca\" }",
            "tls.ca: cannot read /no/such/ca",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\ncredentials = \"/no/such/creds\"",
            "credentials",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntopic = \"t\"\ntls = { ca = \"/no/such/ca\" }",
            "tls.ca: cannot read /no/such/ca",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntopic = \"t\"\ntls = { ca = \"/proc/self/maps\" }",
            "tls.ca: /proc/self/maps has no certificate in PEM",
        ),
        (
            "type = \"kafka\"\nbrokers = [\"a:1\"]\ntopic = \"t\"\nproperties = { \"linger.ms\" = \"soon\" }",
            "linger.ms",
        ),
        (
            "type = \"nats\"\nservers = [\"h\"]\nnkey_secret = \"UABC\"",
            "nkey_secret is no seed",
        ),
        (
            "type = \"webhook\"\nurl = \"https://h\"\nproxy = \"http://p:1\"\nproxy_user = \"u\"\n\
             proxy_password = { file = \"no-such-password\" }",
            "/etc/dbgov/no-such-password",
        ),
    ] {
        let config = one(keys).unwrap();
        let error = crate::sink::check(&config.sinks).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys}: {error}");
    }
}
