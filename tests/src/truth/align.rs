//! Lining up two sequences that should be equal, so that one difference is reported as one and not as thousands.

/// One step through both sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Equal, or unequal with nothing better in sight: left index, right index.
    Pair {
        left: usize,
        right: usize,
        equal: bool,
    },
    /// Only on the left, only on the right.
    Left(usize),
    Right(usize),
}

/// How far a difference is looked behind for the next pair.
const LOOK_AHEAD: usize = 64;

/// Steps through sequences of the given lengths; `equal(left, right)` compares two of their elements.
pub(super) fn align<E>(
    lefts: usize,
    rights: usize,
    mut equal: impl FnMut(usize, usize) -> Result<bool, E>,
) -> Result<Vec<Step>, E> {
    let mut steps = Vec::with_capacity(lefts.max(rights));
    let (mut left, mut right) = (0, 0);
    while left < lefts && right < rights {
        if equal(left, right)? {
            steps.push(pair(left, right, true));
            (left, right) = (left + 1, right + 1);
            continue;
        }
        let (skip_left, skip_right) = nearest(left, right, lefts, rights, &mut equal)?;
        if skip_left == 0 && skip_right == 0 {
            steps.push(pair(left, right, false));
            (left, right) = (left + 1, right + 1);
            continue;
        }
        steps.extend((left..left + skip_left).map(Step::Left));
        steps.extend((right..right + skip_right).map(Step::Right));
        (left, right) = (left + skip_left, right + skip_right);
    }
    steps.extend((left..lefts).map(Step::Left));
    steps.extend((right..rights).map(Step::Right));
    Ok(steps)
}

fn pair(left: usize, right: usize, equal: bool) -> Step {
    Step::Pair { left, right, equal }
}

/// How many to leave out on one side to meet again; (0, 0) if the next ones meet anyhow, or none do.
fn nearest<E>(
    left: usize,
    right: usize,
    lefts: usize,
    rights: usize,
    equal: &mut impl FnMut(usize, usize) -> Result<bool, E>,
) -> Result<(usize, usize), E> {
    // Both go on alike: this one pair was altered.
    if left + 1 < lefts && right + 1 < rights && equal(left + 1, right + 1)? {
        return Ok((0, 0));
    }
    for skip in 1..=LOOK_AHEAD {
        if left + skip < lefts && equal(left + skip, right)? {
            return Ok((skip, 0));
        }
        if right + skip < rights && equal(left, right + skip)? {
            return Ok((0, skip));
        }
    }
    Ok((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn steps(left: &str, right: &str) -> Vec<Step> {
        let (left, right) = (left.as_bytes(), right.as_bytes());
        let equal = |l: usize, r: usize| Ok::<_, Infallible>(left[l] == right[r]);
        align(left.len(), right.len(), equal).unwrap()
    }

    fn differing(left: &str, right: &str) -> Vec<Step> {
        let mut steps = steps(left, right);
        steps.retain(|step| !matches!(step, Step::Pair { equal: true, .. }));
        steps
    }

    #[test]
    fn one_difference_is_one_step() {
        assert!(differing("abcdef", "abcdef").is_empty());
        assert_eq!(differing("abcdef", "abdef"), [Step::Left(2)]);
        assert_eq!(differing("abcdef", "abccdef"), [Step::Right(3)]);
        assert_eq!(differing("abcdef", "abXdef"), [pair(2, 2, false)]);
        assert_eq!(
            differing("abcdef", "abdcef"),
            [Step::Left(2), Step::Right(3)]
        );
        assert_eq!(differing("abc", "ab"), [Step::Left(2)]);
        assert_eq!(differing("", "a"), [Step::Right(0)]);
    }
}
