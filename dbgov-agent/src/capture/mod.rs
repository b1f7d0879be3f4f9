//! Ring buffer -> typed events; and what the host tells of sockets, network namespaces and cgroups.

pub mod cgroup;
pub mod discover;
pub mod netns;
pub mod proc;
pub mod sockdiag;
