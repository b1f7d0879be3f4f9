//! Records for the tests of this stage.

use std::sync::Arc;

use super::record::{
    ApprovalBlock, ApprovalStatement, ApproverBlock, CancelBlock, CloseBlock, ControlBlock,
    ErrorBlock, GapBlock, HolderBlock, Identity, Kind, ParentBlock, PodBlock, PodsBlock,
    ProcessBlock, Record, Rendered, ResultBlock, Session, StatementBlock, TagBlock,
};
use crate::protocol::Text;

pub(super) const TIME_UNIX_NS: u64 = 1_795_391_999_123_456_789;

/// Everything a JSON writer can get wrong.
pub(super) fn nasty_text() -> String {
    let mut text: String = (0..=0x20).filter_map(char::from_u32).collect();
    text.push_str("\"\\/\u{7f}\u{80}\u{9f}\u{2028}\u{2029}\u{feff}\u{fffd}\u{ffff}é漢字😀👩‍👩‍👧");
    // The neighbours of the surrogates, and what UTF-16 writes with them.
    text.push_str("\u{d7ff}\u{e000}\u{10000}\u{10ffff}");
    text.push_str("\"chain\":{\"hash\":\"");
    text
}

pub(super) fn session() -> Session {
    Session {
        application: Some("psql".to_owned()),
        client_addr: Some("10.9.0.2:41884".to_owned()),
        database: Some("prod".to_owned()),
        id: "0a1b2c3d4e5f-42".to_owned(),
        joined: "start",
        protocol: "postgresql",
        server_addr: Some("10.9.0.1:5432".to_owned()),
        server_pid: Some(4242),
        user: Some("app".to_owned()),
        ..Session::default()
    }
}

pub(super) fn identity() -> Identity {
    Identity {
        cgroup: Some("/agents/sync".to_owned()),
        comm: Some("python3".to_owned()),
        exe: Some("/usr/bin/python3".to_owned()),
        name: "agent:sync".to_owned(),
        pid: Some(123),
        source: "tag",
        uid: Some(1000),
        ..Identity::default()
    }
}

pub(crate) fn statement(text: &str) -> Record {
    let mut record = Record::new(Kind::Statement, TIME_UNIX_NS);
    record.identity = Some(Rendered::new(&identity()).unwrap());
    record.session = Some(Rendered::new(&session()).unwrap());
    record.statement = Some(StatementBlock {
        bytes: text.len() as u64,
        count: 1,
        fingerprint: Some("9f86d081884c7d65".into()),
        params: vec![Some("1".to_owned()), None],
        parse: "ok",
        tables: Arc::from(["pgbench_accounts".into()]),
        text: Some(Arc::new(Text {
            text: text.into(),
            bytes: text.len() as u64,
            truncated: false,
            tail_hit: false,
            lossy: false,
            sha256: None,
            encoding: None,
        })),
        verbs: Arc::from(["select"]),
        via: "execute",
        ..StatementBlock::default()
    });
    record.result = Some(ResultBlock {
        duration_us: Some(812),
        rows: Some(3),
        status: "ok",
        tags: vec!["SELECT 3".to_owned()],
        ..ResultBlock::default()
    });
    record
}

/// One of each block, with nothing left out and every string nasty.
pub(super) fn everything() -> Vec<Record> {
    let nasty = nasty_text();
    let some = || Some(nasty.clone());

    let mut full = statement(&nasty);
    if let Some(statement) = &mut full.statement {
        statement.comment.claimed = [("a\"\\", &nasty), ("b", &nasty)]
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .into();
    }
    full.identity = Some(
        Rendered::new(&Identity {
            cgroup: some(),
            comm: some(),
            container: some(),
            exe: some(),
            labels: [(nasty.clone(), nasty.clone())].into(),
            login_uid: Some(1000),
            name: nasty.clone(),
            network: some(),
            pid: Some(u32::MAX),
            pod: some(),
            pod_uid: some(),
            process_ended: true,
            purpose: some(),
            run: some(),
            runtime: Some("containerd"),
            service_account: some(),
            source: "service_account",
            uid: Some(0),
            used_by: Some(HolderBlock {
                comm: nasty.clone(),
                exe: some(),
                pid: 1,
            }),
        })
        .unwrap(),
    );
    let parent = ParentBlock {
        comm: nasty.clone(),
        exe: some(),
        pid: 1,
    };
    full.process = Some(Box::new(ProcessBlock {
        command: vec![nasty.clone(), String::new()],
        command_truncated: true,
        parents: vec![
            parent.clone(),
            ParentBlock {
                exe: None,
                ..parent
            },
        ],
        started: TIME_UNIX_NS,
    }));
    let pod = PodBlock {
        container_name: some(),
        labels: [("app.kubernetes.io/name".to_owned(), nasty.clone())].into(),
        labels_truncated: true,
        name: nasty.clone(),
        namespace: nasty.clone(),
        service_account: some(),
        uid: nasty.clone(),
    };
    full.pods = Some(Box::new(PodsBlock {
        client: Some(pod.clone()),
        server: Some(pod),
    }));
    full.session = Some(
        Rendered::new(&Session {
            application: some(),
            opaque: Some("tls"),
            replication: true,
            role: some(),
            server_container: some(),
            server_pod: some(),
            tls: true,
            ..session()
        })
        .unwrap(),
    );
    if let Some(block) = &mut full.statement {
        block.encoding = some();
        block.function_oid = Some(1);
        block.lossy = true;
        block.missing_where = true;
        block.params = vec![some(), None];
        block.params_truncated = true;
        block.redacted = vec!["password", "literals"];
        block.sha256 = some();
        block.tables = Arc::from([nasty.clone().into_boxed_str()]);
        block.bytes = u64::MAX;
    }
    full.result = Some(ResultBlock {
        copy_in_bytes: u64::MAX,
        copy_out_bytes: 1,
        duration_us: Some(u64::MAX),
        error: Some("42P01".to_owned()),
        message: some(),
        rows: Some(u64::MAX),
        status: "error",
        tags: vec![nasty.clone()],
    });

    let mut start = Record::new(Kind::AgentStart, 0);
    start.agent.insert("version", "0.1.0".into());
    start.agent.insert(
        "servers",
        serde_json::json!([{"port": 5432, "protocol": nasty}]),
    );

    let mut cancel = Record::new(Kind::Cancel, 1);
    let block = CancelBlock {
        backend_pid: 7,
        session: some(),
    };
    cancel.cancel = Some(block.into());

    let mut close = Record::new(Kind::SessionClose, u64::MAX);
    let block = CloseBlock {
        reason: "terminate",
        statements: u64::MAX,
        ..CloseBlock::default()
    };
    close.close = Some(block.into());

    let mut error = Record::new(Kind::SessionError, TIME_UNIX_NS);
    let block = ErrorBlock {
        code: some(),
        direction: Some("request"),
        message: some(),
        reason: some(),
        severity: some(),
    };
    error.error = Some(block.into());
    let lost = gap("crash", Some(9));
    let mut tag = Record::new(Kind::Tag, TIME_UNIX_NS);
    tag.tag = Some(Box::new(TagBlock {
        by: Some(alice()),
        cgroup: nasty.clone(),
        event: "set",
        labels: [(nasty.clone(), nasty.clone())].into(),
        name: nasty.clone(),
        origin: "exec",
        pid: Some(7),
        purpose: some(),
        run: some(),
    }));
    let mut control = Record::new(Kind::Control, TIME_UNIX_NS);
    control.control = Some(Box::new(ControlBlock {
        attempts: u64::MAX,
        by: alice(),
        pid: 7,
        reason: nasty.clone(),
        request: "tag_set".to_owned(),
    }));
    vec![
        full,
        start,
        cancel,
        close,
        error,
        lost,
        approval(),
        tag,
        control,
    ]
}

fn alice() -> ApproverBlock {
    ApproverBlock {
        uid: 1000,
        user: Some("alice".to_owned()),
    }
}

fn approval() -> Record {
    let mut record = Record::new(Kind::Approval, TIME_UNIX_NS);
    record.approval = Some(Box::new(ApprovalBlock {
        approver: Some(alice()),
        id: "k7qx-1".to_owned(),
        reason: Some(nasty_text()),
        requester: "agent:sync".to_owned(),
        rule: "write-needs-where".to_owned(),
        state: "approved",
        statement: ApprovalStatement {
            bytes: u64::MAX,
            head: nasty_text(),
            sha256: Some("00".repeat(32)),
        },
        waited_us: u64::MAX,
    }));
    record
}

pub(crate) fn gap(cause: &'static str, bytes: Option<u64>) -> Record {
    let mut record = Record::new(Kind::Gap, TIME_UNIX_NS);
    let block = GapBlock {
        bytes,
        cause,
        direction: Some("request"),
        records: Some(2),
        side_file: Some("torn.bin".to_owned()),
    };
    record.gap = Some(block.into());
    record
}
