use super::*;

fn bytes<T: Plain>(value: &T) -> Vec<u8> {
    // SAFETY: plain old data without padding.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }.to_vec()
}

fn response_record(len: u32, marks: &[Mark]) -> Vec<u8> {
    let header = Header {
        kind: raw::KIND_RESPONSE,
        len,
        marks: marks.len() as u8,
        ..Header::default()
    };
    let mut record = bytes(&header);
    for index in 0..raw::RESPONSE_MARKS_MAX {
        record.extend(bytes(&marks.get(index).copied().unwrap_or_default()));
    }
    record.extend((0..raw::RESPONSE_DATA_BYTES).map(|b| b as u8));
    record
}

#[test]
fn pieces_stand_between_the_marks() {
    let marks = [
        Mark {
            at: 0,
            rows: 2,
            bytes: 40,
        },
        Mark {
            at: 3,
            rows: 0,
            bytes: 9,
        },
    ];
    let record = response_record(5, &marks);
    let Ok(Captured::Response(response)) = captured(&record) else {
        panic!("a response record")
    };
    let pieces: Vec<_> = response.pieces().collect();
    assert_eq!(
        pieces,
        [
            Piece::Elided { bytes: 40, rows: 2 },
            Piece::Bytes(&[0, 1, 2]),
            Piece::Elided { bytes: 9, rows: 0 },
            Piece::Bytes(&[3, 4]),
        ]
    );
}

#[test]
fn marks_out_of_order_or_outside_are_refused() {
    let backwards = [
        Mark {
            at: 4,
            rows: 0,
            bytes: 1,
        },
        Mark {
            at: 3,
            rows: 0,
            bytes: 1,
        },
    ];
    assert_eq!(
        captured(&response_record(5, &backwards)),
        Err(EventError::Marks)
    );
    assert_eq!(
        captured(&response_record(
            5,
            &[Mark {
                at: 6,
                rows: 0,
                bytes: 1
            }]
        )),
        Err(EventError::Marks)
    );
}

#[test]
fn a_length_beyond_the_record_is_refused() {
    let mut record = bytes(&Header {
        kind: raw::KIND_REQUEST,
        len: 4,
        ..Header::default()
    });
    record.extend([1, 2, 3]);
    assert_eq!(
        captured(&record),
        Err(EventError::Short {
            kind: raw::KIND_REQUEST,
            have: 51
        })
    );
    record.push(4);
    assert!(matches!(
        captured(&record),
        Ok(Captured::Request {
            payload: [1, 2, 3, 4],
            ..
        })
    ));
}

#[test]
fn every_prefix_of_every_kind_is_refused_or_read() {
    for kind in 0..=u8::MAX {
        let mut record = bytes(&Header {
            kind,
            len: 7,
            marks: 3,
            ..Header::default()
        });
        record.resize(400, 0xff);
        for end in 0..record.len() {
            let _ = captured(&record[..end]);
            let _ = control(&record[..end]);
        }
    }
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut tuple = raw::Tuple {
        local_port: 5432,
        remote_port: 9,
        ..raw::Tuple::default()
    };
    tuple.local_addr = std::net::Ipv4Addr::new(10, 9, 0, 1)
        .to_ipv6_mapped()
        .octets();
    tuple.remote_addr = Ipv6Addr::LOCALHOST.octets();
    assert_eq!(ends(&tuple).local.to_string(), "10.9.0.1:5432");
    assert_eq!(ends(&tuple).remote.to_string(), "[::1]:9");
}

fn short_record(header: Header) -> Vec<u8> {
    let header = Header {
        kind: raw::KIND_RESPONSE_SHORT,
        ..header
    };
    let mut record = bytes(&header);
    record.extend((0..raw::RESPONSE_SHORT_DATA_BYTES).map(|b| b as u8));
    record
}

#[test]
fn a_short_response_has_one_piece_left_out() {
    let record = short_record(Header {
        len: 3,
        marks: 1,
        seq: u32::MAX - 9,
        seq_end: 33,
        passed: 2,
        ..Header::default()
    });
    let Ok(Captured::Response(response)) = captured(&record) else {
        panic!("a response record")
    };
    let pieces: Vec<_> = response.pieces().collect();
    assert_eq!(
        pieces,
        [
            Piece::Bytes(&[0]),
            Piece::Elided { bytes: 40, rows: 2 },
            Piece::Bytes(&[1, 2]),
        ]
    );
}

#[test]
fn a_short_response_that_contradicts_itself_is_refused() {
    let more_than_it_covers = short_record(Header {
        len: 3,
        seq_end: 2,
        ..Header::default()
    });
    assert_eq!(captured(&more_than_it_covers), Err(EventError::Marks));
    let mark_behind_the_end = short_record(Header {
        len: 3,
        seq_end: 9,
        marks: 4,
        ..Header::default()
    });
    assert_eq!(captured(&mark_behind_the_end), Err(EventError::Marks));
}
