//! How a stream of unknown length is cut into equal parts and volumes within a memory budget.

/// What a store can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The smallest part but the last, in bytes.
    pub min_part_bytes: u64,
    /// The largest part, in bytes.
    pub max_part_bytes: u64,
    /// How many parts one object may have.
    pub max_parts: u32,
    /// The largest object, in bytes.
    pub max_object_bytes: u64,
}

/// How one item's stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    /// The size of every part but a volume's last, in bytes.
    pub part_bytes: u64,
    /// After how many parts the stream goes on in the next volume.
    pub parts_per_volume: u32,
}

const MIB: u64 = 1 << 20;
/// Below this, more requests cost more than the memory that they save.
const PREFERRED_PART_BYTES: u64 = 8 * MIB;

impl PartPlan {
    /// Chooses an equal part size from a hint of the stored size.
    ///
    /// The part grows with the hint so that one object holds all of it (with a tenth to spare), until
    /// `budget_bytes / parts_in_flight` bounds it; beyond that the stream goes on in volumes. The
    /// part never falls below what the store takes.
    pub fn new(hint_bytes: u64, budget_bytes: u64, parts_in_flight: u32, limits: Limits) -> Self {
        let spare = hint_bytes.saturating_add(hint_bytes / 10);
        let wanted = spare.div_ceil(u64::from(limits.max_parts.max(1))).next_multiple_of(MIB).max(PREFERRED_PART_BYTES);
        let affordable = budget_bytes / u64::from(parts_in_flight.max(1)) / MIB * MIB;
        let part_bytes = wanted.min(affordable).clamp(limits.min_part_bytes, limits.max_part_bytes);
        let by_size = u32::try_from(limits.max_object_bytes / part_bytes).unwrap_or(u32::MAX);
        PartPlan { part_bytes, parts_per_volume: limits.max_parts.min(by_size).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;
    /// Exoscale SOS: 10,000 parts of 5 MiB to 5 GiB, objects to 4 TiB (its documentation).
    const SOS: Limits = Limits { min_part_bytes: 5 * MIB, max_part_bytes: 5 * GIB, max_parts: 10_000, max_object_bytes: 4096 * GIB };

    #[test]
    fn parts_grow_with_the_hint_and_stop_at_the_budget() {
        let plan = |hint| PartPlan::new(hint, 64 * MIB, 4, SOS);
        assert_eq!(plan(0), PartPlan { part_bytes: 8 * MIB, parts_per_volume: 10_000 });
        assert_eq!(plan(100 * GIB).part_bytes, 12 * MIB);
        assert_eq!(plan(4000 * GIB).part_bytes, 16 * MIB);
    }

    #[test]
    fn a_tiny_budget_still_gives_parts_that_the_store_takes() {
        assert_eq!(PartPlan::new(0, MIB, 4, SOS).part_bytes, 5 * MIB);
    }

    proptest! {
        #[test]
        fn a_volume_never_passes_a_limit(hint in 0u64..1 << 50, budget in 0u64..1 << 34, flight in 0u32..64, max_parts in 1u32..20_000, object in 5 * MIB..1 << 42) {
            let limits = Limits { max_parts, max_object_bytes: object, ..SOS };
            let plan = PartPlan::new(hint, budget, flight, limits);
            prop_assert!(plan.part_bytes >= limits.min_part_bytes && plan.part_bytes <= limits.max_part_bytes);
            prop_assert!(plan.parts_per_volume >= 1 && plan.parts_per_volume <= max_parts);
            prop_assert!(plan.parts_per_volume == 1 || u64::from(plan.parts_per_volume) * plan.part_bytes <= object);
        }
    }
}
