//! Pods: a database and its client, each in a network namespace and a cgroup as the kubelet makes them, and a Kubernetes
//! API that tells their names, or does not.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use dbgov_tests::agent::{Agent, Config};
use dbgov_tests::cgroup::Cgroup;
use dbgov_tests::drivers::{self, Target};
use dbgov_tests::kube_api::KubeApi;
use dbgov_tests::netns::Netns;
use dbgov_tests::postgres::{Options, Server};
use dbgov_tests::process::{self, Place};
use dbgov_tests::scratch::Scratch;
use dbgov_tests::{journal, wait_for};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The client of the API tries again after 30 s at the latest, after a short absence much sooner.
const BACK_WITHIN: Duration = Duration::from_secs(40);

fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn web() -> Value {
    recorded(include_str!("../fixtures/kubernetes/web.json"))
}

fn postgres() -> Value {
    recorded(include_str!("../fixtures/kubernetes/postgres.json"))
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap()
}

fn container_id(pod: &Value) -> &str {
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str();
    id.unwrap().split_once("://").unwrap().1
}

/// As the kubelet with the cgroupfs driver makes it, which does not tell the runtime.
fn cgroupfs(pod: &Value) -> Cgroup {
    let path = format!("/kubepods/burstable/pod{}/{}", uid(pod), container_id(pod));
    Cgroup::at(&path).unwrap()
}

/// As the kubelet with systemd's driver and CRI-O make it.
fn systemd(pod: &Value) -> Cgroup {
    let uid = uid(pod).replace('-', "_");
    Cgroup::at(&format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/crio-{}.scope",
        container_id(pod)
    ))
    .unwrap()
}

/// A database and a client in pods of `node-7`, and the API of their cluster. Fields are dropped in this order: what runs
/// in a cgroup goes before the cgroup.
struct Cluster {
    server: Server,
    server_cgroup: Cgroup,
    client_cgroup: Cgroup,
    server_net: Netns,
    client_net: Netns,
    api: KubeApi,
    scratch: Scratch,
}

impl Cluster {
    fn start() -> Self {
        let (server_net, client_net) = Netns::pair().unwrap();
        let server_cgroup = systemd(&postgres());
        let server = Server::start(&Options {
            netns: Some(&server_net),
            cgroup: Some(server_cgroup.dir()),
            quiet: true,
            ..Options::default()
        })
        .unwrap();
        let api = KubeApi::start().unwrap();
        let scratch = Scratch::new("kube").unwrap();
        api.write_kubeconfig(&scratch.path().join("kubeconfig"))
            .unwrap();
        Cluster {
            server,
            server_cgroup,
            client_cgroup: cgroupfs(&web()),
            server_net,
            client_net,
            api,
            scratch,
        }
    }

    fn config(&self) -> Config {
        let kubeconfig = self.scratch.path().join("kubeconfig");
        Config::watching(&[&self.server])
            .set("kubernetes", "node", "\"node-7\"")
            .set("kubernetes", "kubeconfig", &format!("{kubeconfig:?}"))
    }

    fn target(&self, application: &str) -> Target {
        let place = Place {
            cgroup: Some(self.client_cgroup.dir().to_path_buf()),
            ..self.client_net.place()
        };
        self.server
            .target(&self.server_net.ipv4.to_string())
            .application(application)
            .from(place)
    }

    /// A session from the client's pod that says one thing.
    fn says(&self, application: &str, sql: &str) -> std::process::Output {
        let target = self.target(application);
        let mut psql = drivers::psql(&target).unwrap();
        psql.args(["-c", sql]).envs(target.environment());
        psql.stdin(Stdio::null()).output().unwrap()
    }
}

/// A session that stays.
struct Session {
    child: Child,
    input: ChildStdin,
}

impl Session {
    fn open(cluster: &Cluster, application: &str) -> Self {
        let target = cluster.target(application);
        let mut psql = drivers::psql(&target).unwrap();
        psql.envs(target.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = process::spawn(psql).unwrap();
        let input = child.stdin.take().unwrap();
        Session { child, input }
    }

    /// Says it and waits for its record.
    fn says(&mut self, agent: &Agent, sql: &str) -> Value {
        writeln!(self.input, "{sql};").unwrap();
        let text = format!("{sql};");
        agent
            .wait_for_record(sql, TIMEOUT, |record| {
                record["statement"]["text"] == text.as_str() && record["kind"] == "statement"
            })
            .unwrap()
    }

    fn close(mut self) {
        drop(self.input);
        self.child.wait().unwrap();
    }
}

fn kubernetes(agent: &Agent) -> Value {
    agent.status().unwrap()["kubernetes"].clone()
}

fn wait_until_connected(agent: &Agent) {
    wait_for("the API is connected", BACK_WITHIN, || {
        Ok((kubernetes(agent)["connected"] == true).then_some(()))
    })
    .unwrap();
}

fn first<'a>(records: &[&'a Value], kind: &str) -> &'a Value {
    records
        .iter()
        .find(|record| record["kind"] == kind)
        .unwrap()
}

#[test]
fn both_sides_of_a_session_have_their_pod_service_account_and_labels() {
    let cluster = Cluster::start();
    cluster.api.put(&web());
    cluster.api.put(&postgres());
    let mut other = web();
    other["metadata"]["uid"] = "99999999-5b6e-4f70-8a91-b2c3d4e5f601".into();
    other["spec"]["nodeName"] = "node-8".into();
    cluster.api.put(&other);
    let mut agent = Agent::start(cluster.config()).unwrap();
    // No waiting here: the agent captures when it has the list.
    let output = cluster.says("first", "SELECT 1");
    assert!(output.status.success(), "{output:?}");
    let status = agent.status().unwrap();
    let resident_kib = journal::resident_kib(agent.pid().unwrap()).unwrap();
    println!("the agent has {resident_kib} KiB");
    agent.stop().unwrap();

    assert_eq!(
        status["kubernetes"],
        json!({"connected": true, "node": "node-7", "pods": 2})
    );
    let requests = cluster.api.requests();
    assert!(
        requests[0].contains("resourceVersion=0"),
        "from the cache: {}",
        requests[0]
    );
    for request in &requests {
        assert!(
            request.starts_with("/api/v1/pods?")
                && request.contains("fieldSelector=spec.nodeName%3Dnode-7"),
            "{request}"
        );
    }
    let shown = status["servers"].as_array().unwrap();
    let shown = shown
        .iter()
        .find(|server| server["pid"] == cluster.server.pid().unwrap())
        .unwrap();
    assert_eq!(shown["pod"], "shop-db/postgres-0");
    assert_eq!(shown["container"], container_id(&postgres()));
    assert_eq!(shown["runtime"], "cri-o");

    let records = journal::verify(&agent.audit_dir().unwrap()).unwrap();
    let session = journal::of_application(&records, "first");
    let kinds = ["session_open", "statement", "session_close"];
    assert_eq!(journal::kinds(&session), kinds);
    for record in &session {
        let identity = &record["identity"];
        assert_eq!(identity["name"], "system:serviceaccount:shop:web");
        assert_eq!(identity["source"], "service_account");
        assert_eq!(identity["service_account"], "shop/web");
        assert_eq!(identity["pod"], "shop/web-6d8f9c7b54-x2k9q");
        assert_eq!(identity["pod_uid"], uid(&web()));
        assert_eq!(identity["container"], container_id(&web()));
        assert_eq!(identity["runtime"], "containerd", "the API tells it");
        assert_eq!(identity["cgroup"], cluster.client_cgroup.path());
        assert_eq!(record["session"]["server_pod"], "shop-db/postgres-0");
        assert_eq!(
            record["session"]["server_container"],
            container_id(&postgres())
        );
    }
    assert_eq!(
        session[0]["pods"],
        json!({
            "client": {
                "container_name": "app",
                "labels": web()["metadata"]["labels"],
                "name": "web-6d8f9c7b54-x2k9q",
                "namespace": "shop",
                "service_account": "shop/web",
                "uid": uid(&web()),
            },
            "server": {
                "container_name": "postgres",
                "labels": postgres()["metadata"]["labels"],
                "name": "postgres-0",
                "namespace": "shop-db",
                "service_account": "shop-db/postgres",
                "uid": uid(&postgres()),
            },
        })
    );
    assert!(
        session[1..].iter().all(|record| record["pods"].is_null()),
        "once"
    );
    assert!(cluster.server_cgroup.dir().exists());
}

#[test]
fn ids_are_recorded_while_the_api_is_away_and_names_when_it_is_back() {
    let mut cluster = Cluster::start();
    cluster.api.put(&web());
    cluster.api.put(&postgres());
    cluster.api.kill();
    let mut agent = Agent::start(cluster.config()).unwrap();
    let mut session = Session::open(&cluster, "lasts");
    let before = session.says(&agent, "SELECT 'nobody knows'");
    assert_eq!(before["identity"]["pod_uid"], uid(&web()));
    assert_eq!(before["identity"]["container"], container_id(&web()));
    assert_ne!(before["identity"]["source"], "service_account");
    assert!(before["identity"]["pod"].is_null());
    assert_eq!(
        before["session"]["server_container"],
        container_id(&postgres())
    );
    let status = agent.status().unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(status["kubernetes"]["connected"], false);
    let problems = status["problems"].to_string();
    assert!(problems.contains("Kubernetes API: "), "{problems}");

    cluster.api.revive().unwrap();
    wait_until_connected(&agent);
    let after = session.says(&agent, "SELECT 'now it is known'");
    assert_eq!(after["session"]["id"], before["session"]["id"]);
    assert_eq!(after["identity"]["name"], "system:serviceaccount:shop:web");
    assert_eq!(after["session"]["server_pod"], "shop-db/postgres-0");
    assert_eq!(
        after["pods"]["client"]["labels"],
        web()["metadata"]["labels"]
    );
    assert_eq!(after["pods"]["server"]["name"], "postgres-0");
    assert_eq!(
        agent.status().unwrap()["problems"],
        status_without_api(&status)
    );

    // Away once more: what is known stays known, also of a pod that is deleted meanwhile.
    cluster.api.kill();
    wait_for("the API is away", TIMEOUT, || {
        Ok((kubernetes(&agent)["connected"] == false).then_some(()))
    })
    .unwrap();
    cluster.api.delete(uid(&web()));
    let away = session.says(&agent, "SELECT 'away again'");
    assert_eq!(away["identity"]["pod"], "shop/web-6d8f9c7b54-x2k9q");
    cluster.api.revive().unwrap();
    wait_until_connected(&agent);
    cluster.says("late", "SELECT 'of a deleted pod'");
    session.close();
    agent.stop().unwrap();
    let records = agent.journal().unwrap();
    let late = journal::of_application(&records, "late");
    let open = first(&late, "session_open");
    assert_eq!(open["identity"]["name"], "system:serviceaccount:shop:web");
}

fn status_without_api(status: &Value) -> Value {
    let problems = status["problems"].as_array().unwrap();
    let others = problems
        .iter()
        .filter(|problem| !problem.as_str().unwrap().starts_with("Kubernetes API"));
    others.cloned().collect()
}

#[test]
fn changes_are_followed_also_when_the_api_has_forgotten_them() {
    let cluster = Cluster::start();
    cluster.api.put(&postgres());
    let mut agent = Agent::start(cluster.config()).unwrap();
    let mut session = Session::open(&cluster, "new");
    let early = session.says(&agent, "SELECT 'not told yet'");
    assert!(early["identity"]["pod"].is_null());
    // Made while it is watched, first without its container.
    let mut new = web();
    new["status"]["containerStatuses"] = json!([]);
    cluster.api.put(&new);
    cluster.api.bookmark();
    let named = wait_for_name(&agent, &mut session);
    assert!(named["pods"]["client"]["container_name"].is_null());

    let lists = count_lists(&cluster);
    cluster.api.forget_events();
    cluster.api.put(&web());
    wait_for("a new list", BACK_WITHIN, || {
        Ok((count_lists(&cluster) > lists).then_some(()))
    })
    .unwrap();
    wait_until_connected(&agent);
    let told = wait_for("the container's name", TIMEOUT, || {
        let record = session.says(&agent, &unique("SELECT 'container'"));
        Ok(record["pods"]["client"]["container_name"]
            .as_str()
            .map(str::to_owned))
    });
    assert_eq!(told.unwrap(), "app");
    session.close();
    agent.stop().unwrap();
}

fn count_lists(cluster: &Cluster) -> usize {
    let requests = cluster.api.requests();
    requests.iter().filter(|r| !r.contains("watch=")).count()
}

fn unique(sql: &str) -> String {
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{sql}, {number}")
}

/// The first record of the session that has its pod's name.
fn wait_for_name(agent: &Agent, session: &mut Session) -> Value {
    wait_for("the pod has a name", TIMEOUT, || {
        let record = session.says(agent, &unique("SELECT 'named'"));
        Ok((!record["identity"]["pod"].is_null()).then_some(record))
    })
    .unwrap()
}

const POLICY: &str = r#"
default = "allow"
[[rule]]
name = "web-drops-nothing"
action = "reject"
verbs = ["drop"]
identities = ["system:serviceaccount:shop:web"]
"#;

/// A rule about a service account holds for whoever may have it.
#[test]
fn the_gate_treats_a_pod_that_is_not_known_as_anybody() {
    let mut cluster = Cluster::start();
    let mut other = web();
    other["spec"]["serviceAccountName"] = "reports".into();
    cluster.api.put(&other);
    cluster.api.kill();
    let mut agent = Agent::start(cluster.config().policy(POLICY)).unwrap();
    let mut session = Session::open(&cluster, "gated");
    session.says(&agent, "CREATE TABLE t (n int)");
    let unknown = session.says(&agent, "DROP TABLE t");
    assert_eq!(unknown["verdict"]["action"], "reject", "{unknown}");
    cluster.api.revive().unwrap();
    wait_until_connected(&agent);
    let known = session.says(&agent, "DROP  TABLE t");
    assert_eq!(
        known["identity"]["name"],
        "system:serviceaccount:shop:reports"
    );
    assert_eq!(known["verdict"]["action"], "allow", "{known}");
    assert_eq!(known["result"]["status"], "ok");
    session.says(&agent, "CREATE TABLE t (m int)");
    cluster.api.put(&web());
    wait_for("the rule's service account", TIMEOUT, || {
        let record = session.says(&agent, &unique("SELECT 'account'"));
        let name = &record["identity"]["name"];
        Ok((name == "system:serviceaccount:shop:web").then_some(()))
    })
    .unwrap();
    let meant = session.says(&agent, "DROP   TABLE t");
    assert_eq!(meant["verdict"]["action"], "reject", "{meant}");
    session.close();
    agent.stop().unwrap();
}

/// By an operator and by the configuration, for a session that began before the API told its pod.
#[test]
fn pods_are_tagged_by_name_and_by_label() {
    let mut cluster = Cluster::start();
    cluster.api.put(&web());
    cluster.api.put(&postgres());
    cluster.api.kill();
    let config = cluster.config().quiet().more(
        "[[tag]]\nname = \"agent:frontend\"\npod_labels = { \"app.kubernetes.io/component\" = \"front*\", \"app.kubernetes.io/name\" = \"web\" }\n\
         [[tag]]\nname = \"agent:never\"\npod_labels = { \"app.kubernetes.io/name\" = \"web\", \"no-such-label\" = \"*\" }",
    );
    let mut agent = Agent::start(config).unwrap();
    let set = [
        "tag",
        "set",
        "agent:web",
        "--pod",
        "shop/web-6d8f9c7b54-x2k9q",
    ];
    let unknown = agent.command(&set).unwrap();
    assert!(!unknown.status.success());
    let words = String::from_utf8_lossy(&unknown.stderr);
    assert!(words.contains("runs on this node"), "{words}");
    let mut session = Session::open(&cluster, "tagged");
    let before = session.says(&agent, "SELECT 'no labels yet'");
    assert_ne!(before["identity"]["source"], "tag");

    cluster.api.revive().unwrap();
    wait_until_connected(&agent);
    let by_label = session.says(&agent, "SELECT 'by label'");
    assert_eq!(by_label["identity"]["name"], "agent:frontend");
    assert_eq!(by_label["identity"]["source"], "tag");
    assert_eq!(by_label["identity"]["service_account"], "shop/web");

    // What somebody says goes before the configuration, for the same cgroup: that of the pod.
    let set = agent.command(&set).unwrap();
    assert!(set.status.success(), "{set:?}");
    let by_name = session.says(&agent, "SELECT 'by name'");
    assert_eq!(by_name["identity"]["name"], "agent:web");
    cluster.says("another", "SELECT 'from its first byte'");
    session.close();
    agent.stop().unwrap();
    let records = agent.journal().unwrap();
    let open = journal::of_application(&records, "another");
    assert_eq!(
        first(&open, "session_open")["identity"]["name"],
        "agent:web"
    );
    let tags = journal::of_kind(&records, "tag");
    let pod = cluster.client_cgroup.path().rsplit_once('/').unwrap().0;
    for tag in &tags {
        assert_eq!(tag["tag"]["cgroup"], pod, "the pod's, not its container's");
    }
    let events: Vec<_> = tags
        .iter()
        .map(|tag| tag["tag"]["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["set", "replaced", "set"]);
}
