//! An API server in this process: enough for a client that lists and watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use serde_json::{Value, json};

/// An API server that lists what it is told and sends what it is told.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    objects: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    watches: Arc<Mutex<BTreeMap<String, UnboundedSender<Value>>>>,
    lists: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl FakeApi {
    pub(crate) fn set(&self, plural: &str, objects: Vec<Value>) {
        self.objects.lock().unwrap().insert(plural.to_owned(), objects);
    }

    pub(crate) fn send(&self, plural: &str, kind: &str, object: &Value) {
        wait_for(|| self.watches.lock().unwrap().contains_key(plural));
        let event = json!({"type": kind, "object": object});
        self.watches.lock().unwrap()[plural].unbounded_send(event).unwrap();
    }

    /// Ends the watch, as an API server does that is restarted.
    pub(crate) fn hang_up(&self, plural: &str) {
        self.watches.lock().unwrap().remove(plural);
    }

    pub(crate) fn lists(&self, plural: &str) -> usize {
        self.lists.lock().unwrap().get(plural).copied().unwrap_or_default()
    }

    pub(crate) fn client(&self) -> kube::Client {
        let router = Router::new().route("/api/v1/{plural}", get(answer)).with_state(self.clone());
        kube::Client::new(router, "default")
    }
}

async fn answer(State(api): State<FakeApi>, Path(plural): Path<String>, RawQuery(query): RawQuery) -> Response {
    if query.unwrap_or_default().contains("watch=true") {
        let (sender, receiver): (_, UnboundedReceiver<Value>) = unbounded();
        api.watches.lock().unwrap().insert(plural, sender);
        let lines = receiver.map(|event| Ok::<_, std::io::Error>(format!("{event}\n")));
        return Response::new(Body::from_stream(lines));
    }
    *api.lists.lock().unwrap().entry(plural.clone()).or_default() += 1;
    let items = api.objects.lock().unwrap().get(&plural).cloned().unwrap_or_default();
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
    Response::new(Body::from(list.to_string()))
}

#[track_caller]
pub(crate) fn wait_for(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}
