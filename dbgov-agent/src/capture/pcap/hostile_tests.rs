//! Files that are cut, damaged, no captures at all, or made to hurt.

use std::io::{self, Read};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::{DataLink, Endianness};
use proptest::prelude::*;

use super::tests::{classic, enhanced, interface, ip_v4, read};
use super::{CaptureFile, PACKET_BYTES_MAX, PcapError};

#[test]
fn a_truncated_file_gives_what_it_has_and_says_so() {
    let packet = ip_v4(b"select 1");
    let item = (&packet[..], packet.len());
    let pcap = classic(DataLink::RAW, &[item, item]);
    let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
    writer
        .write_pcapng_block(interface(DataLink::RAW, Vec::new()))
        .unwrap();
    let header_bytes = writer.get_mut().len();
    for _ in 0..2 {
        writer.write_pcapng_block(enhanced(0, 1, &packet)).unwrap();
    }
    let pcapng = writer.into_inner();
    for (file, header_bytes) in [(pcap, 24), (pcapng, header_bytes)] {
        let second = header_bytes + (file.len() - header_bytes) / 2;
        for cut in second + 1..file.len() {
            let (seen, _, error) = read(&file[..cut]);
            assert_eq!(seen.len(), 1, "cut at {cut}");
            assert!(matches!(error, Some(PcapError::Truncated { packet: 2 })));
        }
        assert_eq!(read(&file[..second]).0.len(), 1);
        assert!(read(&file[..second]).2.is_none(), "a clean end");
        for cut in 0..4 {
            assert!(matches!(read(&file[..cut]).2, Some(PcapError::NotACapture)));
        }
    }
}

#[test]
fn what_is_no_capture_is_named() {
    let cases: [(&[u8], &str); 4] = [
        (b"SELECT 1;\nSELECT 2;\n", "neither a pcap nor a pcapng"),
        (b"", "neither a pcap nor a pcapng"),
        (&[0x1f, 0x8b, 8, 0, 0, 0], "gzip-compressed"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "zstd-compressed"),
    ];
    for (file, message) in cases {
        let error = read(file).2.unwrap();
        assert!(error.to_string().contains(message), "{error}");
    }
    let missing = CaptureFile::open(std::path::Path::new("/no/such/file.pcap"));
    assert!(matches!(missing.err(), Some(PcapError::Open(_))));
}

#[test]
fn lengths_of_2_to_the_31_take_no_memory() {
    let mut pcap = classic(DataLink::RAW, &[]);
    pcap.extend([0; 8]);
    pcap.extend(0x8000_0000_u32.to_le_bytes());
    pcap.extend(0x8000_0000_u32.to_le_bytes());
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little).unwrap();
    writer
        .write_pcapng_block(interface(DataLink::RAW, Vec::new()))
        .unwrap();
    let section = writer.into_inner();
    let block = |number: u32| {
        let mut file = section.clone();
        file.extend(number.to_le_bytes());
        file.extend(0x8000_0000_u32.to_le_bytes());
        file
    };
    for (name, file) in [
        ("pcap", pcap),
        ("packet", block(6)),
        ("interface", block(1)),
    ] {
        let mut capture = CaptureFile::new(io::Cursor::new(file).chain(io::repeat(0))).unwrap();
        let error = capture.next_packet().unwrap_err();
        assert!(
            matches!(error, PcapError::Malformed { packet: 1, .. }),
            "{name}: {error}"
        );
        assert!(capture.buffer.capacity() <= 4 * PACKET_BYTES_MAX as usize);
    }
    // A block that is not looked at is passed over without being kept.
    let error = read(&block(0x0bad)).2;
    assert!(matches!(error, Some(PcapError::Truncated { packet: 1 })));
}

#[test]
fn interfaces_without_end_are_refused() {
    let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
    for _ in 0..5000 {
        writer
            .write_pcapng_block(interface(DataLink::RAW, Vec::new()))
            .unwrap();
    }
    let error = read(&writer.into_inner()).2;
    assert!(matches!(error, Some(PcapError::Malformed { .. })));
}

fn magic() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(classic(DataLink::ETHERNET, &[])),
        Just(classic(DataLink::LINUX_SLL2, &[])),
        Just(vec![
            0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_bytes_are_survived(magic in magic(), rest in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (seen, counters, _) = read(&[magic, rest].concat());
        prop_assert!(seen.len() as u64 == counters.tcp_segments);
    }

    /// Damage in a good file: a byte here and there is another.
    #[test]
    fn damaged_files_are_survived(
        ng in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let packet = ip_v4(b"select 1");
        let mut file = if ng {
            let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
            let options = vec![InterfaceDescriptionOption::IfTsResol(9)];
            writer.write_pcapng_block(interface(DataLink::RAW, options)).unwrap();
            for at in 0..5 {
                writer.write_pcapng_block(enhanced(0, at, &packet)).unwrap();
            }
            writer.into_inner()
        } else {
            classic(DataLink::RAW, &[(&packet[..], packet.len()); 5])
        };
        for (index, byte) in damage {
            let index = index.index(file.len());
            file[index] = byte;
        }
        let (seen, _, _) = read(&file);
        prop_assert!(seen.iter().all(|packet| packet.4.len() <= file.len()));
    }

    /// Any frame under any link type.
    #[test]
    fn random_frames_are_survived(
        link in prop::sample::select(vec![0_u32, 1, 101, 108, 113, 228, 229, 276]),
        frame in prop::collection::vec(any::<u8>(), 0..200),
        version in prop::option::of(prop::sample::select(vec![0x45_u8, 0x4f, 0x60])),
    ) {
        let mut frame = frame;
        if let (Some(version), Some(first)) = (version, frame.first_mut()) {
            *first = version;
        }
        let (_, counters, error) = read(&classic(DataLink::from(link), &[(&frame, 1500)]));
        prop_assert!(error.is_none());
        prop_assert_eq!(counters.packets, 1);
    }
}
