use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::facts::lookup::ModelSource;
use fake_hub::{Answer, FakeHub, ok, status};

#[path = "../../../tests/support/fake_hub.rs"]
mod fake_hub;

const CONFIG: &str = "/acme/llm/resolve/main/config.json";
const INDEX: &str = "/acme/llm/resolve/main/model.safetensors.index.json";

fn config() -> Vec<u8> {
    json!({
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": 1000,
    })
    .to_string()
    .into_bytes()
}

/// The config and no index.
fn plain(path: &str) -> Answer {
    if path == CONFIG { ok(config()) } else { status("404 Not Found", &[]) }
}

fn settings(hub: &FakeHub) -> Settings {
    Settings { endpoint: hub.url(), timeout: Duration::from_secs(5), ..Settings::default() }
}

fn find(settings: Settings) -> Result<Arc<Model>, HubError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Hub::new(settings)?.find(&Hub::repository("acme/llm").unwrap()))
}

/// What comes of one answer to the request for the config.
fn after(answer: Answer) -> HubError {
    let answer = move |_: &str| answer.clone();
    find(settings(&FakeHub::start(answer))).unwrap_err()
}

#[test]
fn a_model_is_read_from_its_config_and_its_index() {
    let derived = find(settings(&FakeHub::start(plain))).unwrap();
    assert_eq!((derived.name.as_str(), derived.checkpoint_bytes), ("acme/llm", None));
    let bytes = derived.parameters() * 2 + 1000;
    let index = json!({"metadata": {"total_size": bytes}, "weight_map": {
        "model.embed_tokens.weight": "a.safetensors", "model.layers.1.mlp.up_proj.weight": "b.safetensors", "lm_head.weight": "b.safetensors"}});
    let hub = FakeHub::start(move |path| if path == INDEX { ok(index.to_string()) } else { plain(path) });
    assert_eq!(find(settings(&hub)).unwrap().checkpoint_bytes.map(|known| known.total), Some(bytes));
    assert_eq!(hub.paths(), [CONFIG, INDEX]);
}

#[test]
fn a_revision_and_a_path_of_the_endpoint_are_part_of_the_address() {
    let hub = FakeHub::start(|path| if path.ends_with("config.json") { ok(config()) } else { status("404 No", &[]) });
    let endpoint = format!("{}/mirror/", hub.url());
    find(Settings { endpoint, revision: "v1.0".to_owned(), ..settings(&hub) }).unwrap();
    assert_eq!(hub.paths()[0], "/mirror/acme/llm/resolve/v1.0/config.json");
}

#[test]
fn an_index_that_is_of_no_use_costs_nothing_but_itself() {
    for index in [ok("{"), ok(r#"{"metadata": {"total_size": 7}}"#), status("500 Oops", &[]), Answer::Raw(Vec::new())] {
        let shown = format!("{index:?}");
        let hub = FakeHub::start(move |path| if path == INDEX { index.clone() } else { plain(path) });
        assert_eq!(find(settings(&hub)).unwrap().checkpoint_bytes, None, "{shown}");
    }
}

#[test]
fn refusals_are_told_apart() {
    assert_eq!(after(status("404 Not Found", &[])), HubError::NotFound);
    assert_eq!(after(status("401 Unauthorized", &[])), HubError::Forbidden(401));
    assert_eq!(after(status("403 Forbidden", &[])), HubError::Forbidden(403));
    assert_eq!(after(status("503 Service Unavailable", &[])), HubError::Status(503));
    assert_eq!(after(status("429 Slow", &["Retry-After: 7"])), HubError::Busy(Duration::from_secs(7)));
    assert_eq!(after(status("429 Slow", &[])), HubError::Busy(Duration::from_mins(1)));
    assert_eq!(after(status("429 Slow", &["Retry-After: 999999999"])), HubError::Busy(Duration::from_hours(1)));
}

#[test]
fn what_is_no_config_is_said_and_not_shown() {
    for (body, words) in [
        ("<html>secret page</html>", "not JSON"),
        ("[1, 2]", "not understood"),
        (r#"{"model_type": "llama"}"#, "not understood"),
        ("", "not JSON"),
    ] {
        let error = after(ok(body)).to_string();
        assert!(error.contains(words) && !error.contains("secret"), "{body}: {error}");
    }
}

#[test]
fn large_answers_are_not_taken_in() {
    const SIZE: u64 = 200 << 20;
    let head = |length: &str| format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n").into_bytes();
    let started = Instant::now();
    for length in [format!("content-length: {SIZE}"), "connection: close".to_owned()] {
        let error = after(Answer::Endless(head(&length), SIZE));
        assert_eq!(error, HubError::TooLarge { limit: MOST_CONFIG }, "{length}");
    }
    // One header of 200 MB.
    let error = after(Answer::Endless(b"HTTP/1.1 200 OK\r\nx-large: ".to_vec(), SIZE));
    assert!(matches!(error, HubError::Network(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn slow_and_broken_answers_end_in_time() {
    let hub = FakeHub::start(|_| Answer::Silence);
    let started = Instant::now();
    let timeout = Duration::from_millis(300);
    assert_eq!(find(Settings { timeout, ..settings(&hub) }).unwrap_err(), HubError::Slow(timeout));
    assert!(started.elapsed() < Duration::from_secs(5));

    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"model_type\":".to_vec();
    for bytes in [cut, b"HTTP/1.1 200".to_vec(), b"SSH-2.0-x\r\n".to_vec(), Vec::new()] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert!(matches!(after(Answer::Raw(bytes)), HubError::Network(_)), "{shown}");
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Settings { endpoint: format!("http://{unused}"), ..Settings::default() };
    assert!(matches!(find(nobody).unwrap_err(), HubError::Network(_)));
}

#[test]
fn redirects_are_followed_and_the_token_stays_at_home() {
    let storage = FakeHub::start(|_| ok(config()));
    let there = format!("Location: {}/blob?signature=1", storage.url());
    let hub = FakeHub::start(move |path| match path {
        CONFIG => status("307 Temporary Redirect", &["Location: /acme/renamed/resolve/main/config.json"]),
        "/acme/renamed/resolve/main/config.json" => status("302 Found", &[there.as_str()]),
        _ => status("404 Not Found", &[]),
    });
    let token = Some(Token::new(" hf_secret\n").unwrap());
    find(Settings { token, ..settings(&hub) }).unwrap();
    assert_eq!(storage.paths(), ["/blob?signature=1"]);
    assert!(hub.requests().iter().all(|request| request.contains("authorization: Bearer hf_secret")), "{hub:?}");
    assert!(!storage.requests()[0].to_lowercase().contains("authorization"), "{storage:?}");
}

#[test]
fn redirects_that_lead_nowhere_are_not() {
    for location in ["", "Location: ftp://example/x", "Location: ::::", "Location: relative"] {
        assert!(matches!(after(status("302 Found", &[location])), HubError::Redirect(_)), "{location}");
    }
    assert_eq!(after(status("302 Found", &["Location: /again"])), HubError::Redirect("in circles"));
}

#[test]
fn the_token_is_in_no_text() {
    let token = Token::new("hf_secret").unwrap();
    let hub = FakeHub::start(|_| status("401 Unauthorized", &[]));
    let settings = Settings { token: Some(token), ..settings(&hub) };
    let shown =
        format!("{settings:?} {:?} {}", Hub::new(settings.clone()).unwrap(), find(settings.clone()).unwrap_err());
    assert!(!shown.contains("hf_secret"), "{shown}");
    for bad in ["", "  ", "hf secret", "hf_\u{e9}", "hf\nsecret"] {
        let error = Token::new(bad).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for endpoint in
        ["", "huggingface.co", "ftp://x", "http://", "https://user:pw@host", "https://host?x=1", "https://a b"]
    {
        let refused = Hub::new(Settings { endpoint: endpoint.to_owned(), ..Settings::default() });
        let error = refused.expect_err(endpoint).to_string();
        assert!(error.contains("https://HOST") && !error.contains("pw"), "{error}");
    }
    assert!(Hub::new(Settings { revision: "../x".to_owned(), ..Settings::default() }).is_err());
}

#[test]
fn what_was_found_is_kept_and_stands_in_while_the_hub_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let away = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&away);
    let hub =
        FakeHub::start(move |path| if seen.load(Ordering::SeqCst) { status("503 Away", &[]) } else { plain(path) });
    let settings = Settings { cache: Some(folder.path().to_owned()), ..settings(&hub) };
    let first = find(settings.clone()).unwrap();
    let asked = hub.requests().len();
    assert_eq!(find(settings.clone()).unwrap(), first);
    assert_eq!(hub.requests().len(), asked, "it was kept");

    away.store(true, Ordering::SeqCst);
    let endpoint = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read_dir(endpoint).unwrap().next().unwrap().unwrap().path();
    let old = std::time::SystemTime::now() - Duration::from_hours(24 * 30);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    assert_eq!(find(settings.clone()).unwrap(), first, "out of date is better than nothing");
    assert!(hub.requests().len() > asked);
    std::fs::write(&file, "{").unwrap();
    assert_eq!(find(settings).unwrap_err(), HubError::Status(503), "a damaged file is no file");
}

#[test]
fn the_command_line_asks_once_and_waits_for_a_busy_hub() {
    let busy = AtomicUsize::new(1);
    let hub = FakeHub::start(move |path| {
        if busy.swap(0, Ordering::SeqCst) == 1 { status("429 Slow", &["Retry-After: 1"]) } else { plain(path) }
    });
    let waiting = Waiting::new(Hub::new(settings(&hub)).unwrap()).unwrap();
    assert!(waiting.find("/models/llm").is_none(), "a path is nothing for the Hub");
    for _ in 0..3 {
        assert!(waiting.find("acme/llm").unwrap().is_ok());
    }
    assert_eq!(hub.paths(), [CONFIG, CONFIG, INDEX]);
}

#[test]
fn the_command_line_gives_up_on_a_hub_that_is_down() {
    let hub = FakeHub::start(|_| status("500 Oops", &[]));
    let waiting = Waiting::new(Hub::new(settings(&hub)).unwrap()).unwrap();
    for n in 0..10 {
        assert!(waiting.find(&format!("acme/llm{n}")).unwrap().is_err());
    }
    assert_eq!(hub.requests().len(), 3);
}

/// Runs a queue until `done`, then says what it looked up.
fn with_queue(hub: &FakeHub, done: impl Fn(&Queue) -> bool) -> Vec<(String, Option<&'static str>)> {
    let queue = Queue::new(Hub::new(settings(hub)).unwrap());
    let looked = Mutex::new(Vec::new());
    let note = |name: &RepoName, _: Duration, result: Result<(), &HubError>| {
        looked.lock().unwrap().push((name.to_string(), result.err().map(HubError::code)));
    };
    let until = async {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done(&queue) {
            assert!(Instant::now() < deadline, "it never happened");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! { () = queue.follow(&note) => {}, () = until => {} }
    });
    drop(runtime);
    looked.into_inner().unwrap()
}

#[test]
fn the_server_answers_at_once_and_knows_at_the_next_review() {
    let hub = FakeHub::start(plain);
    let asked = AtomicUsize::new(0);
    let looked = with_queue(&hub, |queue| {
        let found = queue.find("acme/llm").unwrap();
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            assert!(found.as_ref().unwrap_err().contains("being looked up"), "{found:?}");
        }
        assert!(queue.find("/models/llm").is_none());
        found.is_ok()
    });
    assert_eq!(looked, [("acme/llm".to_owned(), None)]);
    assert_eq!(hub.paths(), [CONFIG, INDEX], "one look-up, however often it is asked for");
}

#[test]
fn the_server_remembers_what_the_hub_does_not_have() {
    let hub = FakeHub::start(|_| status("404 Not Found", &[]));
    let rounds = AtomicUsize::new(0);
    let looked = with_queue(&hub, |queue| {
        let error = queue.find("acme/none").unwrap().unwrap_err();
        error.contains("no such model") && rounds.fetch_add(1, Ordering::SeqCst) > 20
    });
    assert_eq!(looked, [("acme/none".to_owned(), Some("not_found"))]);
}

#[test]
fn the_queue_is_bounded() {
    // Nobody looks anything up: the queue fills, and names beyond it are not even remembered.
    let queue = Queue::new(Hub::new(Settings::default()).unwrap());
    for n in 0..10_000 {
        assert!(queue.find(&format!("acme/llm{n}")).unwrap().is_err());
    }
    assert_eq!(queue.len(), 64);
    assert!(queue.find("acme/llm9999").unwrap().unwrap_err().contains("too many"));
}
