//! Function calls by OID (the protocol's FunctionCall, documentation 53.2.4).

use crate::sql::{Effect, Object, ObjectKind, Verb};

/// Built-in functions that clients call so: libpq's large-object interface and the drivers' (`pg_proc.dat`; an OID below
/// 10,000 keeps its meaning in every version).
const NAMES: &[(u32, &str)] = &[
    (715, "lo_create"),
    (764, "lo_import"),
    (765, "lo_export"),
    (767, "lo_import"),
    (952, "lo_open"),
    (953, "lo_close"),
    (954, "loread"),
    (955, "lowrite"),
    (956, "lo_lseek"),
    (957, "lo_creat"),
    (958, "lo_tell"),
    (964, "lo_unlink"),
    (1004, "lo_truncate"),
    (3170, "lo_lseek64"),
    (3171, "lo_tell64"),
    (3172, "lo_truncate64"),
];

/// A call of a known function, or of one that may have any name.
pub(super) fn effect(oid: u32) -> Effect {
    let name = NAMES.iter().find(|(known, _)| *known == oid);
    Effect {
        verb: Verb::Call,
        object: name.map(|(_, name)| Object {
            kind: ObjectKind::Function,
            schema: Some("pg_catalog".into()),
            name: (*name).into(),
        }),
        uncertain: name.is_none(),
        missing_where: false,
        server_side: matches!(oid, 764 | 765 | 767),
        dynamic: false,
    }
}
