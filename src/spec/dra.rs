//! Dynamic resource allocation: devices that drivers publish (`resource.k8s.io`), and the claims that pods have on them.

mod claims;
mod matching;
pub mod objects;
mod slices;

pub use claims::{ClaimUse, Claimed, claimed, extended, uses};
pub use slices::{Placed, place};

use std::borrow::Borrow;

use super::nodepools::{self, NodePool};
use super::nodes::{NodeView, with_devices};
use crate::decide::Inventory;
use crate::decide::inventory::dynamic::Dynamic;
use objects::Object;

/// What was published and asked for, as it is read.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Slices of devices.
    pub slices: Vec<objects::ResourceSlice>,
    /// Classes, claims and templates.
    pub dynamic: Dynamic,
}

impl Published {
    /// What there is, with what node pools could add.
    #[must_use]
    pub fn inventory<N: Borrow<NodeView>>(&self, nodes: impl IntoIterator<Item = N>, pools: &[NodePool]) -> Inventory {
        let mut inventory = with_devices(nodes, place(&self.slices), self.dynamic.clone());
        inventory.possible = nodepools::possible(pools);
        inventory
    }

    /// Takes an object in; tells whether its kind belongs here.
    ///
    /// # Errors
    /// When a field has a wrong type.
    pub fn add(&mut self, object: &serde_json::Value) -> Result<bool, serde_json::Error> {
        match objects::read(object)? {
            Some(Object::Slice(slice)) => self.slices.push(slice),
            Some(Object::Class(name, class)) => {
                self.dynamic.classes.insert(name, class);
            }
            Some(Object::Claim(key, requests)) => {
                self.dynamic.claims.insert(key, requests);
            }
            Some(Object::Template(key, requests)) => {
                self.dynamic.templates.insert(key, requests);
            }
            None => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
