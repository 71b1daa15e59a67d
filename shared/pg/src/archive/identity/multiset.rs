//! Digests of elements in any order, each as often as it comes.

use sha2::{Digest as _, Sha256};

/// Sums of 256 bits for each element. One alone could be matched by whoever may choose many rows: with k lists the work
/// falls with every doubling of k (Wagner's generalized birthday problem), to about 2^32 for one sum. Against eight, which
/// are one of 2048 bits, it takes more than 2^90.
const LANES: usize = 8;

/// A digest of a multiset: sums, so that neither order nor grouping counts, and every repetition does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Multiset {
    count: u64,
    lanes: [[u64; 4]; LANES],
}

impl Multiset {
    /// Adds one element, by its digest.
    pub(super) fn add(&mut self, element: &[u8; 32]) {
        self.count += 1;
        for (number, lane) in (0u8..).zip(&mut self.lanes) {
            let summand: [u8; 32] = Sha256::new_with_prefix([number]).chain_update(element).finalize().into();
            add(lane, &summand);
        }
    }

    /// The digest of all that was added.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.count.to_le_bytes());
        self.lanes.as_flattened().iter().for_each(|limb| digest.update(limb.to_le_bytes()));
        digest.finalize().into()
    }
}

/// Adds modulo 2^256, the least significant limb first.
fn add(sum: &mut [u64; 4], summand: &[u8; 32]) {
    let mut carry = false;
    for (limb, bytes) in sum.iter_mut().zip(summand.as_chunks::<8>().0) {
        let (partial, first) = limb.overflowing_add(u64::from_le_bytes(*bytes));
        let (whole, second) = partial.overflowing_add(u64::from(carry));
        (*limb, carry) = (whole, first || second);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(elements: &[[u8; 32]]) -> Multiset {
        let mut multiset = Multiset::default();
        elements.iter().for_each(|element| multiset.add(element));
        multiset
    }

    #[test]
    fn carries_go_through_all_limbs_and_out() {
        let mut sum = [u64::MAX; 4];
        let mut one = [0; 32];
        one[0] = 1;
        add(&mut sum, &one);
        assert_eq!(sum, [0; 4]);
        add(&mut sum, &[0xff; 32]);
        add(&mut sum, &[0xff; 32]);
        assert_eq!(sum, [u64::MAX - 1, u64::MAX, u64::MAX, u64::MAX]);
    }

    proptest! {
        #[test]
        fn only_the_order_does_not_count(
            elements in proptest::collection::vec(any::<[u8; 32]>(), 1..20),
            shuffled in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0usize..256,
        ) {
            let whole = of(&elements);
            let mut other = elements.clone();
            let middle = shuffled.index(other.len());
            other.rotate_left(middle);
            other.reverse();
            prop_assert_eq!(of(&other).digest(), whole.digest());
            // One more, one fewer, one twice, and one that is another.
            let at = at.index(elements.len());
            let mut more = elements.clone();
            more.push(elements[at]);
            prop_assert_ne!(of(&more).digest(), whole.digest());
            // Twice the same is not as if it were not there, as it would be with XOR.
            more.push(elements[at]);
            prop_assert_ne!(of(&more).digest(), whole.digest());
            let mut fewer = elements.clone();
            fewer.remove(at);
            prop_assert_ne!(of(&fewer).digest(), whole.digest());
            let mut changed = elements.clone();
            changed[at][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(of(&changed).digest(), whole.digest());
        }
    }
}
