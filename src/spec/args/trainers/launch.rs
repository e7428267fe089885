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

/// What is known about a number of processes or nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Known(u64),
    /// Given in a way that cannot be read.
    Unknown,
    /// Nothing was said.
    Unsaid,
}

impl World {
    fn of(number: Option<u64>) -> Self {
        number.map_or(Self::Unknown, Self::Known)
    }
}

/// The first of some variables that the pod sets.
fn variable(reader: &Reader<'_>, names: &[&str]) -> World {
    let said = names.iter().find_map(|name| match reader.scene.env.get(name) {
        Var::Known(value) => Some(World::of(value.trim().parse().ok())),
        Var::Unknown if !reader.scene.env.is_imported_only(name) => Some(World::Unknown),
        _ => None,
    });
    said.unwrap_or(World::Unsaid)
}

/// A flag's number, else a variable's.
fn told(reader: &Reader<'_>, flag: &str, variables: &[&str]) -> World {
    match reader.kept.get(flag) {
        Some(text) => World::of(text.parse().ok()),
        None => variable(reader, variables),
    }
}

/// Nodes: as told, else as many pods as work on the job. A launcher's own default is one.
fn nodes(reader: &Reader<'_>) -> Option<u64> {
    match told(reader, "--nnodes", &["PET_NNODES", "NNODES"]) {
        World::Known(nodes) => Some(nodes),
        // Filled in by what makes the pods, or elastic (`1:4`).
        World::Unknown => reader.scene.pods,
        World::Unsaid => Some(reader.scene.pods.unwrap_or(1)),
    }
}

/// Variables that tell the processes of a node.
const LOCAL: &[&str] = &["PET_NPROC_PER_NODE", "NPROC_PER_NODE"];

/// Processes of one node: as told, else one for each GPU.
fn local(reader: &Reader<'_>) -> Option<u64> {
    match told(reader, "--nproc-per-node", LOCAL) {
        World::Known(processes) => Some(processes),
        _ => reader.draft.out.gpus.as_ref().map(|gpus| gpus.count),
    }
}

fn world(reader: &Reader<'_>, launches: bool) -> World {
    if let Some(total) = reader.kept.get("--num-processes") {
        return World::of(total.parse().ok());
    }
    let several = told(reader, "--nproc-per-node", LOCAL) != World::Unsaid;
    if launches || several || reader.launcher.is_some() {
        return World::of(nodes(reader).zip(local(reader)).and_then(|(nodes, local)| nodes.checked_mul(local)));
    }
    match (variable(reader, &["WORLD_SIZE"]), reader.scene.pods, &reader.draft.out.gpus) {
        (said @ (World::Known(_) | World::Unknown), ..) => said,
        (World::Unsaid, Some(pods), Some(gpus)) if gpus.count == 1 => World::Known(pods),
        (World::Unsaid, None, Some(gpus)) if gpus.count == 1 => World::Known(1),
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
