//! Ring buffer (or a capture file) -> typed events; and what the host tells of sockets, network namespaces and cgroups.

pub mod cgroup;
pub mod cgroupns;
pub mod discover;
pub mod event;
pub mod kernel;
pub mod netns;
pub mod pcap;
pub mod peer;
pub mod proc;
pub mod sockdiag;
