//! The types whose binary form is read, by the object ids that `pg_type.dat` fixes for every server.

/// How the binary form of one value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    /// `"char"`: one byte.
    Char,
    Int2,
    Int4,
    Int8,
    /// Object ids and their kin. What they name (a table, a role) is in the catalog, so the number stands.
    Oid,
    Xid8,
    Tid,
    Float4,
    Float8,
    Numeric,
    Text,
    Xml,
    /// A version byte of 1 and a text: jsonb, jsonpath.
    VersionedText,
    Bytea,
    Uuid,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Inet,
    MacAddr,
    MacAddr8,
    Bit,
    Point,
    PgLsn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Scalar(Scalar),
    Array {
        element_oid: u32,
        element: Scalar,
    },
    /// int2vector, oidvector: on the wire an array, as text its elements with spaces between.
    Vector {
        element_oid: u32,
        element: Scalar,
    },
}

/// Type, its array type, how to read it. money is not here: its sign and its decimals depend on the server's
/// lc_monetary. Types of extensions and of users have no fixed number.
const TYPES: &[(u32, u32, Scalar)] = &[
    (16, 1000, Scalar::Bool),
    (17, 1001, Scalar::Bytea),
    (18, 1002, Scalar::Char),
    (19, 1003, Scalar::Text), // name
    (20, 1016, Scalar::Int8),
    (21, 1005, Scalar::Int2),
    (23, 1007, Scalar::Int4),
    (24, 1008, Scalar::Oid),  // regproc
    (25, 1009, Scalar::Text), // text
    (26, 1028, Scalar::Oid),  // oid
    (27, 1010, Scalar::Tid),
    (28, 1011, Scalar::Oid),  // xid
    (29, 1012, Scalar::Oid),  // cid
    (114, 199, Scalar::Text), // json
    (142, 143, Scalar::Xml),
    (600, 1017, Scalar::Point),
    (650, 651, Scalar::Inet), // cidr
    (700, 1021, Scalar::Float4),
    (701, 1022, Scalar::Float8),
    (705, 0, Scalar::Text), // unknown, has no array type
    (774, 775, Scalar::MacAddr8),
    (829, 1040, Scalar::MacAddr),
    (869, 1041, Scalar::Inet),
    (1042, 1014, Scalar::Text), // bpchar
    (1043, 1015, Scalar::Text), // varchar
    (1082, 1182, Scalar::Date),
    (1083, 1183, Scalar::Time),
    (1114, 1115, Scalar::Timestamp),
    (1184, 1185, Scalar::TimestampTz),
    (1186, 1187, Scalar::Interval),
    (1266, 1270, Scalar::TimeTz),
    (1560, 1561, Scalar::Bit),
    (1562, 1563, Scalar::Bit), // varbit
    (1700, 1231, Scalar::Numeric),
    (1790, 2201, Scalar::Text), // refcursor
    (2202, 2207, Scalar::Oid),  // regprocedure
    (2203, 2208, Scalar::Oid),  // regoper
    (2204, 2209, Scalar::Oid),  // regoperator
    (2205, 2210, Scalar::Oid),  // regclass
    (2206, 2211, Scalar::Oid),  // regtype
    (2275, 1263, Scalar::Text), // cstring
    (2950, 2951, Scalar::Uuid),
    (3220, 3221, Scalar::PgLsn),
    (3734, 3735, Scalar::Oid),           // regconfig
    (3769, 3770, Scalar::Oid),           // regdictionary
    (3802, 3807, Scalar::VersionedText), // jsonb
    (4072, 4073, Scalar::VersionedText), // jsonpath
    (4089, 4090, Scalar::Oid),           // regnamespace
    (4096, 4097, Scalar::Oid),           // regrole
    (4191, 4192, Scalar::Oid),           // regcollation
    (5069, 271, Scalar::Xid8),
];

/// int2vector and oidvector.
const VECTORS: &[(u32, u32, Scalar)] = &[(22, 21, Scalar::Int2), (30, 26, Scalar::Oid)];

pub(super) fn lookup(type_oid: u32) -> Option<Type> {
    // 0 on the wire means "not said"; it also stands in the table for "has no array type".
    if type_oid == 0 {
        return None;
    }
    let vector = VECTORS.iter().find(|(oid, ..)| *oid == type_oid);
    if let Some((_, element_oid, element)) = vector.copied() {
        return Some(Type::Vector {
            element_oid,
            element,
        });
    }
    TYPES.iter().find_map(|(oid, array_oid, scalar)| {
        if *oid == type_oid {
            Some(Type::Scalar(*scalar))
        } else if *array_oid == type_oid {
            Some(Type::Array {
                element_oid: *oid,
                element: *scalar,
            })
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_stands_for_two_types() {
        let mut seen = HashSet::new();
        for (oid, array_oid, _) in TYPES.iter().chain(VECTORS) {
            assert!(seen.insert(*oid), "{oid}");
            if VECTORS.iter().all(|(vector, ..)| vector != oid) {
                assert!(*array_oid == 0 || seen.insert(*array_oid), "{array_oid}");
            }
        }
    }

    #[test]
    fn arrays_lead_to_their_elements() {
        let array = Type::Array {
            element_oid: 23,
            element: Scalar::Int4,
        };
        assert_eq!(lookup(1007), Some(array));
        assert_eq!(lookup(0), None);
        assert_eq!(lookup(790), None);
        assert_eq!(lookup(16_384), None);
    }
}
