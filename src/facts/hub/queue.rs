//! Look-ups of the server: a review that names an unknown model is answered at once, the next one knows more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::{Hub, HubError, RepoName};
use crate::estimate::model::Model;
use crate::facts::lookup::ModelSource;

/// Look-ups that wait; of more, the next review of the model asks again.
const MOST_WAITING: usize = 64;
/// Models remembered, known and unknown.
const MOST_NAMES: usize = 4096;
/// Look-ups at once.
const AT_ONCE: usize = 4;
/// A model that is known is looked up again after this long.
const KNOWN_FOR: Duration = Duration::from_hours(24);
/// A model that the Hub does not have, or not for us.
const UNKNOWN_FOR: Duration = Duration::from_mins(10);
/// A Hub that does not answer.
const FAILED_FOR: Duration = Duration::from_mins(1);

/// Is told of every look-up: the model, how long it took, and why there is none.
pub type Looked<'a> = &'a (dyn Fn(&RepoName, Duration, Result<(), &HubError>) + Sync);

/// Never waits: unknown now, known at the next review.
#[derive(Debug)]
pub struct Queue {
    hub: Hub,
    entries: Mutex<BTreeMap<RepoName, Entry>>,
    sender: mpsc::Sender<RepoName>,
    receiver: AsyncMutex<mpsc::Receiver<RepoName>>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    found: Option<Result<Arc<Model>, HubError>>,
    /// Waits in the queue or is being looked up.
    pending: bool,
    /// When `found` should be looked up again.
    until: Option<Instant>,
}

impl Queue {
    /// Looks up on this Hub once [`Queue::follow`] runs.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        Self { hub, entries: Mutex::default(), sender, receiver: AsyncMutex::new(receiver) }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<RepoName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nothing was ever asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Looks up what is asked for, for ever.
    pub async fn follow(&self, looked: Looked<'_>) {
        let one = || async {
            loop {
                let name = self.receiver.lock().await.recv().await;
                // The sender is ours: the channel never closes.
                let Some(name) = name else { return };
                let started = Instant::now();
                let found = self.hub.find(&name).await;
                looked(&name, started.elapsed(), found.as_ref().map(|_| ()));
                self.keep(name, found);
            }
        };
        const { assert!(AT_ONCE == 4, "one branch each") };
        tokio::join!(one(), one(), one(), one());
    }

    fn keep(&self, name: RepoName, found: Result<Arc<Model>, HubError>) {
        let pause = match &found {
            Ok(_) => KNOWN_FOR,
            Err(HubError::Busy(wait)) => *wait,
            Err(error) if error.is_passing() => FAILED_FOR,
            Err(_) => UNKNOWN_FOR,
        };
        let mut entries = self.entries();
        let entry = entries.entry(name).or_default();
        // What was known stays known while the Hub is away.
        let keeps = matches!((&entry.found, &found), (Some(Ok(_)), Err(error)) if error.is_passing());
        if !keeps {
            entry.found = Some(found);
        }
        entry.pending = false;
        entry.until = Some(Instant::now() + pause);
    }

    /// Asks for a look-up unless one is under way or was made lately.
    fn want(&self, entries: &mut BTreeMap<RepoName, Entry>, name: &RepoName) {
        let now = Instant::now();
        let due = |entry: &Entry| !entry.pending && entry.until.is_none_or(|until| until <= now);
        match entries.get(name) {
            Some(entry) if !due(entry) => return,
            None if entries.len() >= MOST_NAMES => {
                entries.retain(|_, entry| !due(entry));
                if entries.len() >= MOST_NAMES {
                    return;
                }
            }
            _ => {}
        }
        if self.sender.try_send(name.clone()).is_ok() {
            entries.entry(name.clone()).or_default().pending = true;
        }
    }
}

impl ModelSource for Queue {
    fn find(&self, reference: &str) -> Option<Result<Arc<Model>, String>> {
        let name = Hub::repository(reference)?;
        let mut entries = self.entries();
        self.want(&mut entries, &name);
        Some(match entries.get(&name) {
            Some(Entry { found: Some(found), .. }) => found.clone().map_err(|error| error.to_string()),
            Some(_) => Err("it is being looked up on the Hub, try again in a moment".to_owned()),
            None => Err("too many look-ups wait for the Hub".to_owned()),
        })
    }
}
