//! Whether the agent does what it is there for.

use super::metrics::Snapshot;

/// The capture thread tells how it is four times a second; one that has not for so long, seconds, stands still.
const SILENT_SECONDS_MAX: f64 = 10.0;

/// In words, why not.
pub(crate) fn is_capturing(snapshot: &Snapshot) -> Result<(), String> {
    if snapshot.told_seconds > SILENT_SECONDS_MAX {
        let seconds = snapshot.told_seconds;
        return Err(format!(
            "not capturing: the capture thread has not been heard of for {seconds:.0} s"
        ));
    }
    if !snapshot.status.ready {
        return Err("not capturing: the agent is starting".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stands_still_is_not_capturing() {
        let mut snapshot = Snapshot::default();
        assert!(is_capturing(&snapshot).unwrap_err().contains("starting"));
        snapshot.status.ready = true;
        assert_eq!(is_capturing(&snapshot), Ok(()));
        snapshot.told_seconds = 11.0;
        assert!(is_capturing(&snapshot).unwrap_err().contains("for 11 s"));
    }
}
