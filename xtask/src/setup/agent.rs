//! What building the agent takes beside Rust: librdkafka, which the Kafka sink uses, is C and is linked with OpenSSL.

use std::process::Command;

use anyhow::Result;

use super::packages::{self, Need};
use crate::shell::{self, find_program};

pub(super) fn provide() -> Result<()> {
    let need =
        |what, program, package| Need::new(what, &[package], find_program(program).is_some());
    packages::provide(&[
        need("a C compiler, for librdkafka and zstd", "cc", "gcc"),
        need("a C++ compiler, for librdkafka", "c++", "g++"),
        need("make, for librdkafka", "make", "make"),
        need(
            "pkg-config, which finds OpenSSL",
            "pkg-config",
            "pkg-config",
        ),
    ])?;
    let has_openssl = shell::capture(Command::new("pkg-config").args(["--modversion", "openssl"]));
    packages::provide(&[Need::new(
        "OpenSSL's headers, for Kafka over TLS",
        &["libssl-dev"],
        has_openssl.is_some(),
    )])
}
