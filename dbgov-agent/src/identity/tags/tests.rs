use std::path::Path;

use super::*;

fn new(name: &str, cgroup: &str, cgroup_id: u64) -> NewTag {
    NewTag {
        name: TagName::new(name).unwrap(),
        cgroup: cgroup.to_owned(),
        cgroup_id,
        origin: Origin::Command,
        by: None,
        run: None,
    }
}

fn name(tag: Option<&Arc<Tag>>) -> Option<&str> {
    tag.map(|tag| tag.name.as_str())
}

#[test]
fn the_nearest_tagged_cgroup_names_a_process() {
    let mut tags = Tags::default();
    assert_eq!(name(tags.nearest("/a/b")), None);
    tags.insert(new("outer", "/a", 1)).unwrap();
    tags.insert(new("inner", "/a/b/c", 2)).unwrap();
    for (path, expected) in [
        ("/a", Some("outer")),
        ("/a/b", Some("outer")),
        ("/a/b/c", Some("inner")),
        ("/a/b/c/d/e", Some("inner")),
        ("/ab", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(name(tags.nearest(path)), expected, "{path}");
    }
}

#[test]
fn a_cgroup_has_one_tag() {
    let mut tags = Tags::default();
    let (first, none) = tags.insert(new("one", "/a", 1)).unwrap();
    assert!(none.is_none());
    let (second, before) = tags.insert(new("two", "/a", 1)).unwrap();
    assert_eq!(before.unwrap(), first);
    assert_ne!(first.id, second.id);
    assert_eq!(name(tags.nearest("/a")), Some("two"));
    assert_eq!(tags.list().len(), 1);
    assert_eq!(tags.insert(new("all", "/", 0)), Err(TagError::Root));
}

#[test]
fn what_the_kernel_noted_is_found_after_the_end() {
    let mut tags = Tags::default();
    let (tag, _) = tags.insert(new("one", "/a", 1)).unwrap();
    tags.end(tag.id).unwrap();
    assert!(tags.nearest("/a").is_none());
    assert_eq!(tags.noted(tag.id), Some(tag.clone()));
    assert_eq!(tags.noted(tag.id + 1), None);
    for id in 0..2 * ENDED_MAX as u64 {
        let (tag, _) = tags.insert(new("more", &format!("/{id}"), id)).unwrap();
        tags.end(tag.id).unwrap();
    }
    assert_eq!(tags.ended.len(), ENDED_MAX);
    assert_eq!(tags.noted(tag.id), None, "long ago");
}

#[test]
fn the_table_is_as_large_as_the_kernels() {
    let mut tags = Tags::default();
    for id in 0..u64::from(dbgov_common::TAGS_MAX) {
        tags.insert(new("t", &format!("/{id}"), id)).unwrap();
    }
    let full = tags.insert(new("t", "/one-more", 0)).unwrap_err();
    assert!(matches!(full, TagError::Full(_)));
    tags.insert(new("again", "/0", 0)).unwrap();
}

fn rules(text: &str) -> Result<Vec<TagRule>, String> {
    #[derive(Debug, Deserialize)]
    struct File {
        tag: Vec<TagRule>,
    }
    toml::from_str::<File>(text)
        .map(|file| file.tag)
        .map_err(|error| error.to_string())
}

#[test]
fn tags_of_the_configuration() {
    let rules = rules(
        r#"
        [[tag]]
        name = "agent:any"
        cgroup = "/agents/*"
        [[tag]]
        name = "agent:sync"
        unit = "sync@*.service"
        [[tag]]
        name = "never"
        cgroup = "/agents/x"
        "#,
    )
    .unwrap();
    for (path, expected) in [
        ("/agents", None),
        ("/agents/x", Some(("/agents/x", "agent:any"))),
        // The deepest that matches; `*` also stands for `/`.
        ("/agents/x/y", Some(("/agents/x/y", "agent:any"))),
        (
            "/system.slice/sync@1.service/payload",
            Some(("/system.slice/sync@1.service", "agent:sync")),
        ),
        ("/system.slice/sync@1.serviceX", None),
        ("/", None),
    ] {
        let found = nearest_rule(&rules, path, None).map(|(path, rule)| (path, rule.name.as_str()));
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn mistakes_in_tags_of_the_configuration() {
    for (text, told) in [
        (
            "[[tag]]\nname = \"a b\"\ncgroup = \"/x\"",
            "line 2, column 8",
        ),
        ("[[tag]]\nname = \"a\"", "needs one of `cgroup`"),
        (
            "[[tag]]\nname = \"a\"\ncgroup = \"/x\"\nunit = \"y\"",
            "needs one of `cgroup`",
        ),
        ("[[tag]]\nname = \"a\"\ncgroup = \"x\"", "begins with `/`"),
        (
            "[[tag]]\nname = \"a\"\ncgroup = \"/[x]\"",
            "no meaning in a pattern",
        ),
        (
            "[[tag]]\nname = \"a\"\ngroup = \"/x\"",
            "unknown field `group`",
        ),
    ] {
        let error = rules(text).unwrap_err();
        assert!(error.contains(told), "{text:?}: {error}");
    }
}

#[test]
fn the_next_agent_reads_what_this_one_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let file = StateFile::beside(&dir.path().join("control.sock"));
    assert!(file.read().unwrap().list().is_empty());
    let mut tags = Tags::default();
    let run = Run {
        id: "r1".to_owned(),
        purpose: Some("clean-up".to_owned()),
        labels: [("ticket".to_owned(), "OPS-17".to_owned())].into(),
    };
    tags.insert(NewTag {
        origin: Origin::Exec,
        by: Some(Setter {
            uid: 1000,
            user: Some("alice".to_owned()),
            pid: 7,
        }),
        run: Some(run),
        ..new("agent:sync", "/dbgov/x", 5)
    })
    .unwrap();
    let (config, _) = tags
        .insert(NewTag {
            origin: Origin::Config,
            ..new("of-config", "/y", 6)
        })
        .unwrap();
    file.write(&tags).unwrap();
    let path = dir.path().join("tags.json");
    let mode = std::fs::metadata(&path).unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
    let mut read = file.read().unwrap();
    assert_eq!(read.list()[..], tags.list()[..1]);
    let (next, _) = read.insert(new("next", "/z", 7)).unwrap();
    assert!(next.id > config.id, "ids are not used twice");

    let other_boot = std::fs::read_to_string(&path).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&path, other_boot.replace(boot.trim(), "another")).unwrap();
    assert!(file.read().unwrap().list().is_empty());

    for broken in ["{", r#"{"v":2,"boot_id":"","last_id":1,"tags":[]}"#] {
        std::fs::write(&path, broken).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("set them again"), "{error}");
        assert!(!Path::new(&path).exists());
        assert!(dir.path().join("tags.json.unreadable").exists());
    }
}
