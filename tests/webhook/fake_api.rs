//! An API server in this process: enough for a client that lists and watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, patch};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use serde_json::{Value, json};

/// An API server that lists what it is told and sends what it is told.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    objects: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    watches: Arc<Mutex<BTreeMap<String, UnboundedSender<Value>>>>,
    lists: Arc<Mutex<BTreeMap<String, usize>>>,
    statuses: Arc<Mutex<Vec<(String, Value)>>>,
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

    /// Statuses that were written: whose, and what.
    pub(crate) fn statuses(&self) -> Vec<(String, Value)> {
        self.statuses.lock().unwrap().clone()
    }

    pub(crate) fn client(&self) -> kube::Client {
        let router = Router::new()
            .route("/api/v1/{plural}", get(answer))
            .route("/apis/vramguard.io/v1/{plural}", get(answer_if_installed))
            .route("/apis/vramguard.io/v1/{plural}/{name}/status", patch(cluster_status))
            .route("/apis/vramguard.io/v1/namespaces/{namespace}/{plural}/{name}/status", patch(status))
            .with_state(self.clone());
        kube::Client::new(router, "default")
    }
}

/// Custom resources exist once the test has set their objects.
async fn answer_if_installed(state: State<FakeApi>, plural: Path<String>, query: RawQuery) -> Response {
    let installed = state.objects.lock().unwrap().contains_key(&plural.0);
    if installed {
        return answer(state, plural, query).await;
    }
    let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "the server could not find the requested resource"});
    Response::builder().status(StatusCode::NOT_FOUND).body(Body::from(missing.to_string())).unwrap()
}

async fn status(
    State(api): State<FakeApi>,
    Path((namespace, _, name)): Path<(String, String, String)>,
    body: String,
) -> Response {
    written(&api, format!("{namespace}/{name}"), &body)
}

async fn cluster_status(State(api): State<FakeApi>, Path((_, name)): Path<(String, String)>, body: String) -> Response {
    written(&api, name, &body)
}

fn written(api: &FakeApi, whose: String, body: &str) -> Response {
    let mut object: Value = serde_json::from_str(body).unwrap();
    api.statuses.lock().unwrap().push((whose, object["status"].clone()));
    object["metadata"] = json!({"name": "any"});
    Response::new(Body::from(object.to_string()))
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
