//! Look-ups of the command line: the caller waits, each model is asked for once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::{Hub, HubError, RepoName};
use crate::estimate::model::Model;
use crate::facts::lookup::ModelSource;

/// A busy Hub is waited for as long as this, in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// A Hub that failed so often in a row is not asked again.
const MOST_FAILURES: u32 = 3;

/// Fetches while its caller waits.
#[derive(Debug)]
pub struct Waiting {
    hub: Hub,
    runtime: Runtime,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: BTreeMap<RepoName, Result<Arc<Model>, HubError>>,
    failures: u32,
    patience: Duration,
}

impl Waiting {
    /// Looks up on this Hub.
    ///
    /// # Errors
    /// When the system gives us no event loop.
    pub fn new(hub: Hub) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = State { known: BTreeMap::new(), failures: 0, patience: PATIENCE };
        Ok(Self { hub, runtime, state: Mutex::new(state) })
    }

    fn ask(&self, name: &RepoName, state: &mut State) -> Result<Arc<Model>, HubError> {
        loop {
            match self.runtime.block_on(self.hub.find(name)) {
                Err(HubError::Busy(wait)) if wait <= state.patience => {
                    state.patience -= wait;
                    std::thread::sleep(wait);
                }
                found => return found,
            }
        }
    }
}

impl ModelSource for Waiting {
    fn find(&self, reference: &str) -> Option<Result<Arc<Model>, String>> {
        let name = Hub::repository(reference)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.known.get(&name) {
            return Some(known.clone().map_err(|error| error.to_string()));
        }
        if state.failures >= MOST_FAILURES {
            return Some(Err("the Hub was not asked: it failed several times before".to_owned()));
        }
        let found = self.ask(&name, &mut state);
        state.failures = match &found {
            Err(error) if error.is_passing() => state.failures + 1,
            _ => 0,
        };
        state.known.insert(name, found.clone());
        Some(found.map_err(|error| error.to_string()))
    }
}
