//! Rules by who sends a message.

use super::{ask, policy, somebody};
use crate::policy::{Context, SearchPath};

const WHO: &str = r#"
    [[rule]]
    name = "agents"
    action = "reset"
    identities = ["agent:*"]
    users = ["app"]
    databases = ["shop"]
    applications = ["psql", "app-*"]
    client_addrs = ["10.9.0.0/16"]
    verbs = ["drop"]
    [[rule]]
    name = "admin"
    action = "allow"
    roles = ["admin"]
    verbs = ["drop"]
    [[rule]]
    name = "rest"
    action = "hold"
    verbs = ["drop"]
"#;

#[test]
fn who() {
    let policy = policy(WHO);
    let path = SearchPath::Unknown;
    let all = somebody(&path);
    let told = |context: &Context<'_>| ask(&policy, context, "DROP TABLE t").rule.to_string();
    assert_eq!(told(&all), "agents");
    for other in [
        Context {
            identity: Some("alice"),
            ..all
        },
        Context {
            user: Some("other"),
            ..all
        },
        Context {
            database: Some("Shop"),
            ..all
        },
        Context {
            application: Some("psql2"),
            ..all
        },
        Context {
            client_addr: Some([10, 8, 0, 1].into()),
            ..all
        },
    ] {
        assert_eq!(told(&other), "rest", "{other:?}");
        assert_eq!(
            told(&Context {
                role: Some("admin"),
                ..other
            }),
            "admin",
            "{other:?}"
        );
        assert_eq!(
            told(&Context {
                role: None,
                ..other
            }),
            "rest",
            "{other:?}"
        );
    }
    // An IPv4 address by an IPv6 socket.
    let mapped = "::ffff:10.9.1.1".parse().ok();
    assert_eq!(
        told(&Context {
            client_addr: mapped,
            ..all
        }),
        "agents"
    );
    // What is not known may be what restricts.
    for unknown in [
        Context {
            identity: None,
            ..all
        },
        Context { user: None, ..all },
        Context {
            database: None,
            ..all
        },
        Context {
            application: None,
            ..all
        },
        Context {
            client_addr: None,
            ..all
        },
    ] {
        assert_eq!(told(&unknown), "agents", "{unknown:?}");
    }
}

#[test]
fn rules_for_a_connection() {
    let policy = policy(WHO);
    let path = SearchPath::Unknown;
    let names = |context: Context<'_>| -> Vec<String> {
        policy
            .rules_for(&context)
            .map(|rule| rule.name.to_string())
            .collect()
    };
    let all = somebody(&path);
    assert_eq!(names(all), ["agents", "rest"]);
    assert_eq!(
        names(Context {
            application: Some("x"),
            ..all
        }),
        ["agents", "rest"]
    );
    assert_eq!(
        names(Context {
            user: Some("x"),
            ..all
        }),
        ["rest"]
    );
    assert_eq!(names(Context { user: None, ..all }), ["agents", "rest"]);
}
