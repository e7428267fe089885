//! Launchers: torchrun, accelerate and deepspeed. How many processes run, and how many of them share the data.

use super::accelerate;
use crate::spec::args::shell::Var;
use crate::spec::args::table::{Effect, Flag, Reader, flag, tables};

/// Numbers of processes and nodes.
pub(super) const COUNTS: &[Flag] = &[
    flag(&["--nproc-per-node", "--num-gpus", "--nproc-per-node-size", "--nproc"], Effect::KeepAny),
    flag(&["--nnodes", "--num-nodes", "--num-machines"], Effect::KeepAny),
    flag(&["--num-processes"], Effect::KeepAny),
];

const OTHERS: &[Flag] = &[
    flag(
        &["--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--rdzv-conf", "--master-addr", "--master-port"],
        Effect::Skip,
    ),
    flag(
        &["--node-rank", "--machine-rank", "--main-process-ip", "--main-process-port", "--max-restarts"],
        Effect::Skip,
    ),
    flag(
        &["--monitor-interval", "--start-method", "--role", "--log-dir", "--redirects", "--tee", "-r", "-t"],
        Effect::Skip,
    ),
    flag(&["--hostfile", "-H", "--include", "-i", "--exclude", "-e", "--launcher", "--launcher-args"], Effect::Skip),
    flag(
        &["--num-cpu-threads-per-process", "--gpu-ids", "--rdzv-timeout", "--local-ranks-filter", "--same-network"],
        Effect::Skip,
    ),
];

/// Flags of every launcher; they do not collide.
pub(in crate::spec::args) const LAUNCH: &[Flag] = tables!(COUNTS, accelerate::FLAGS, OTHERS);

/// Flags of launchers without a value.
pub(in crate::spec::args) const LAUNCH_SWITCHES: &[&str] = &[
    "--standalone",
    "--no-python",
    "--no-local-rank",
    "--cpu",
    "--tpu",
    "--debug",
    "--quiet",
    "-q",
    "--force-multi",
    "--enable-elastic-training",
    "--bind-cores-to-rank",
    "--use-env",
    "--force",
    "--no-ssh",
];

/// What is known about the number of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Known(u64),
    /// Given in a way that cannot be read.
    Unknown,
    /// Nothing was said.
    Unsaid,
}

fn variable(reader: &Reader<'_>, names: &[&str]) -> Option<Option<u64>> {
    names.iter().find_map(|name| match reader.scene.env.get(name) {
        Var::Known(value) => Some(value.trim().parse().ok()),
        Var::Unknown if !reader.scene.env.is_imported_only(name) => Some(None),
        _ => None,
    })
}

/// Nodes: as told, else as many pods as work on the job. A launcher's own default is one.
fn nodes(reader: &Reader<'_>) -> Option<u64> {
    let told = reader.kept.get("--nnodes").map(|text| text.parse().ok());
    match told.or_else(|| variable(reader, &["PET_NNODES", "NNODES"])) {
        Some(Some(nodes)) => Some(nodes),
        // Filled in by what makes the pods, or elastic (`1:4`).
        Some(None) => reader.scene.pods,
        None => Some(reader.scene.pods.unwrap_or(1)),
    }
}

/// Processes of one node: as told, else one for each GPU.
fn local(reader: &Reader<'_>) -> Option<u64> {
    let gpus = reader.draft.out.gpus.as_ref().map(|gpus| gpus.count);
    let told = reader.kept.get("--nproc-per-node").map(|text| text.parse().ok());
    told.or_else(|| variable(reader, &["PET_NPROC_PER_NODE", "NPROC_PER_NODE"])).flatten().or(gpus)
}

fn world(reader: &Reader<'_>, launches: bool) -> World {
    let known = |world: Option<u64>| world.map_or(World::Unknown, World::Known);
    if let Some(total) = reader.kept.get("--num-processes") {
        return known(total.parse().ok());
    }
    let told = reader.kept.contains_key("--nproc-per-node")
        || variable(reader, &["NPROC_PER_NODE", "PET_NPROC_PER_NODE"]).is_some();
    if launches || told || reader.launcher.is_some() {
        return known(nodes(reader).zip(local(reader)).and_then(|(nodes, local)| nodes.checked_mul(local)));
    }
    match (variable(reader, &["WORLD_SIZE"]), reader.scene.pods, &reader.draft.out.gpus) {
        (Some(world), ..) => known(world),
        (None, Some(pods), Some(gpus)) if gpus.count == 1 => World::Known(pods),
        (None, None, Some(gpus)) if gpus.count == 1 => World::Known(1),
        _ => World::Unsaid,
    }
}

/// Data-parallel ranks: processes in all, divided by what tensor, pipeline and context parallelism take. `launches`
/// tells that the program starts a process for each GPU by itself.
pub(super) fn data_parallel(reader: &mut Reader<'_>, launches: bool) {
    if !reader.draft.is_free("parallelism.data") {
        return;
    }
    let split = reader.draft.out.parallelism;
    let model = split.tensor.saturating_mul(split.pipeline).saturating_mul(split.context);
    match world(reader, launches) {
        World::Known(total) if total >= model && total.is_multiple_of(model) => {
            reader.put("parallelism.data", total / model);
        }
        World::Unsaid => {}
        World::Known(_) | World::Unknown => {
            reader.unknown("parallelism.data", "the number of processes cannot be read");
        }
    }
}

/// Whether every process holds the whole model and nothing was said of sharding: copies, or a single process.
pub(super) fn replicated(reader: &mut Reader<'_>) {
    if !reader.draft.is_free("training.sharding") || reader.draft.is_free("parallelism.data") {
        return;
    }
    let sharding = if reader.draft.out.parallelism.data > 1 { "ddp" } else { "none" };
    reader.put("training.sharding", sharding);
}
