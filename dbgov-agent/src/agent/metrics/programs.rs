//! How long the kernel programs run. The kernel counts that only while somebody asks it to, which costs each run two
//! looks at the clock: it is asked for a second now and then.

use std::time::Duration;

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use crate::agent::status::HookStatus;

/// How long is counted ...
pub(crate) const SAMPLE: Duration = Duration::from_secs(1);
/// ... and how often, as long as somebody reads the figures.
pub(crate) const EVERY: Duration = Duration::from_secs(30);

/// Of all samples together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ProgramTimes {
    pub(crate) program: String,
    pub(crate) runs: u64,
    pub(crate) seconds: f64,
}

/// While it lives the kernel counts.
#[derive(Debug)]
pub(crate) struct Counting(
    #[expect(dead_code, reason = "what counts is that it is open")] std::os::fd::OwnedFd,
);

impl Counting {
    /// `None` where the kernel (before 5.8) or the agent's rights do not let it.
    pub(crate) fn begin() -> Option<Self> {
        enable_stats(Stats::RunTime).ok().map(Counting)
    }
}

/// The kernel's counters of these programs: all of the time it was asked to count, by whomever.
pub(crate) fn times(hooks: &[HookStatus]) -> Vec<ProgramTimes> {
    let mut times = Vec::new();
    // A program that ends meanwhile is an error in the list, and none of ours.
    for info in loaded_programs().flatten() {
        let hook = hooks.iter().find(|hook| hook.id == info.id());
        times.extend(hook.map(|hook| ProgramTimes {
            program: hook.program.clone(),
            runs: info.run_count(),
            seconds: info.run_time().as_secs_f64(),
        }));
    }
    times
}
