//! What the webhook adds to the creation of a pod, seen by the API server's client.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use libtest_mimic::Trial;

use crate::controlplane::ControlPlane;
use crate::gpu_nodes::l40s_node;
use crate::llama::serving;
use crate::trial;
use crate::webhook::Webhook;

/// Requests a round, by turns with and without webhook, so that whatever else runs disturbs both alike.
const REQUESTS: usize = 200;

/// Nagle's algorithm against delayed acknowledgements would add 40 ms to some requests.
const TAIL: Duration = Duration::from_millis(25);

/// A busy machine may spoil a round; the delay would be in every one of them.
const ROUNDS: usize = 6;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("latency::the_webhook_has_no_tail", the_webhook_has_no_tail)]
}

fn the_webhook_has_no_tail(plane: &ControlPlane) -> Result<()> {
    let _nodes = plane.nodes(&[l40s_node("l40s", 1)])?;
    let webhook = Webhook::start(plane, "")?;
    let (without, with) = (plane.namespace("alone")?, webhook.namespace("guarded")?);
    with.accepts(&serving("serve")).silently();
    let pod: Pod = serde_json::from_value(serving("serve").into_object())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(plane.client())?;
    let apis = [without.name(), with.name()].map(|name| Api::<Pod>::namespaced(client.clone(), name));
    let mut added = Duration::MAX;
    for _ in 0..ROUNDS {
        let [without, with] = runtime.block_on(round(&apis, &pod))?;
        eprintln!(
            "server-side dry run of a pod: p50 {:.1} ms, p99 {:.1} ms without webhook; p50 {:.1} ms, p99 {:.1} ms with",
            milliseconds(without.0),
            milliseconds(without.1),
            milliseconds(with.0),
            milliseconds(with.1)
        );
        added = added.min(with.1.saturating_sub(without.1));
        if added < TAIL {
            break;
        }
    }
    ensure!(added < TAIL, "the webhook adds {added:?} at p99");
    Ok(())
}

/// Median and 99th percentile of each.
async fn round(apis: &[Api<Pod>; 2], pod: &Pod) -> Result<[(Duration, Duration); 2]> {
    let rehearsal = PostParams { dry_run: true, field_manager: None };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..REQUESTS {
        for (api, times) in apis.iter().zip(&mut times) {
            let clock = Instant::now();
            api.create(&rehearsal, pod).await?;
            times.push(clock.elapsed());
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    }))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
