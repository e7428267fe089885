//! What decisions are made from: one consistent picture, never changed after it is published.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::decide::Inventory;
use crate::facts::profile::Profiles;

/// One picture of the cluster.
#[derive(Debug)]
pub struct Snapshot {
    /// GPUs and nodes.
    pub inventory: Inventory,
    /// Value of the `vramguard.io/mode` label by namespace, where there is one.
    pub namespace_modes: BTreeMap<String, String>,
    /// Models that users described.
    pub profiles: Profiles,
    /// Counts up with every rebuild; 0 while nothing is known.
    pub generation: u64,
    /// When it was built.
    pub built: Instant,
}

impl Snapshot {
    pub(super) fn of(
        inventory: Inventory,
        namespace_modes: BTreeMap<String, String>,
        profiles: Profiles,
        generation: u64,
    ) -> Self {
        Self { inventory, namespace_modes, profiles, generation, built: Instant::now() }
    }

    pub(super) fn empty() -> Self {
        Self::of(Inventory::default(), BTreeMap::new(), Profiles::default(), 0)
    }

    /// The inventory, once it is known: an empty one would say that there are no GPUs.
    #[must_use]
    pub fn known_inventory(&self) -> Option<&Inventory> {
        (self.generation > 0).then_some(&self.inventory)
    }
}
