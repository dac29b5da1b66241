//! Which of a client's messages are settled. Pure.
//! Runs of numbers, in any order -> all up to one number, and some beyond.
//! Invariant: a number is settled once; what is beyond is never next to what is up to.
//! Leaves out: whose numbers they are, and where they are kept.

use std::collections::BTreeMap;

/// A run of consecutive numbers: the first, and how many.
pub type Run = (u64, u64);

/// Settled numbers. Messages of one client may go to several files, so one
/// may be safe before another that came first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// All up to this one.
    up_to: u64,
    /// Further ones: first and last of each run.
    beyond: BTreeMap<u64, u64>,
}

impl Numbers {
    /// All up to this one, and none beyond.
    pub fn up_to(number: u64) -> Numbers {
        Numbers { up_to: number, beyond: BTreeMap::new() }
    }

    /// All numbers up to this one are settled, and the next one is not.
    pub fn last(&self) -> u64 {
        self.up_to
    }

    /// The runs beyond.
    pub fn beyond(&self) -> impl Iterator<Item = Run> + '_ {
        self.beyond.iter().map(|(&first, &last)| (first, last - first + 1))
    }

    /// Is this one settled?
    pub fn contains(&self, number: u64) -> bool {
        number <= self.up_to
            || self.beyond.range(..=number).next_back().is_some_and(|(_, &last)| number <= last)
    }

    /// These are settled now. A run that goes beyond all numbers is cut.
    pub fn add(&mut self, (first, count): Run) {
        if count == 0 {
            return;
        }
        let mut first = first;
        let mut last = first.saturating_add(count - 1);
        // Runs that touch it become one with it.
        while let Some((&before, &end)) = self.beyond.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.beyond.remove(&before);
            (first, last) = (first.min(before), last.max(end));
        }
        if first <= self.up_to.saturating_add(1) {
            self.up_to = self.up_to.max(last);
        } else {
            self.beyond.insert(first, last);
        }
    }

    /// All up to this one are settled.
    pub fn raise(&mut self, number: u64) {
        if number > self.up_to {
            self.add((1, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn runs_in_any_order_settle_what_a_set_of_numbers_would(
            runs in proptest::collection::vec((1..60_u64, 0..9_u64), 0..20), raised in 0..30_u64
        ) {
            let (mut numbers, mut set) = (Numbers::default(), BTreeSet::new());
            for &(first, count) in &runs {
                numbers.add((first, count));
                set.extend(first..first + count);
            }
            numbers.raise(raised);
            set.extend(1..=raised);
            for number in 1..80 {
                prop_assert_eq!(numbers.contains(number), set.contains(&number), "{}", number);
            }
            let last = (1..).find(|number| !set.contains(number)).unwrap() - 1;
            prop_assert_eq!(numbers.last(), last);
            let beyond: u64 = numbers.beyond().map(|(_, count)| count).sum();
            prop_assert_eq!(last + beyond, set.len() as u64);
            prop_assert!(numbers.beyond().all(|(first, _)| first > last + 1));
        }
    }

    #[test]
    fn the_last_number_of_all_is_no_place_to_overflow() {
        let mut numbers = Numbers::up_to(u64::MAX - 1);
        numbers.add((u64::MAX, u64::MAX));
        numbers.raise(u64::MAX);
        assert!(numbers.contains(u64::MAX) && numbers.beyond().next().is_none());
        let mut numbers = Numbers::default();
        numbers.add((u64::MAX - 1, 9));
        numbers.add((5, 1));
        assert!(numbers.contains(u64::MAX) && numbers.contains(5) && !numbers.contains(1));
    }
}
