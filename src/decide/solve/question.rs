//! What may be asked, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::estimate::workload::Task;

/// A question whose answer is a value of the workload or a piece of hardware. Stable: part of the machine interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// The largest context length.
    Context,
    /// The largest number of concurrent sequences of the declared context.
    Concurrency,
    /// The largest micro-batch.
    MicroBatch,
    /// The longest training sequence.
    SequenceLength,
    /// The smallest tensor-parallel degree.
    TensorParallel,
    /// The smallest pipeline-parallel degree.
    PipelineParallel,
    /// What other formats of the KV cache free.
    KvCacheDtype,
    /// What quantized weights free.
    Quantization,
    /// The laziest activation checkpointing.
    Checkpointing,
    /// The fewest ranks that states must be sharded over.
    Sharding,
    /// The smallest GPU class of the catalogue.
    Gpu,
    /// The smallest MIG profile of the catalogue.
    Mig,
}

impl Question {
    /// All questions with their names, in the order in which they are answered.
    const ALL: [(Self, &'static str); 12] = [
        (Self::Context, "context"),
        (Self::Concurrency, "concurrency"),
        (Self::MicroBatch, "micro-batch"),
        (Self::SequenceLength, "sequence-length"),
        (Self::TensorParallel, "tensor-parallel"),
        (Self::PipelineParallel, "pipeline-parallel"),
        (Self::KvCacheDtype, "kv-cache-dtype"),
        (Self::Quantization, "quantization"),
        (Self::Checkpointing, "checkpointing"),
        (Self::Sharding, "sharding"),
        (Self::Gpu, "gpu"),
        (Self::Mig, "mig"),
    ];

    /// The questions that make sense for a task, in the order in which they are answered.
    pub fn about(task: Task) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(question, _)| question).filter(move |question| question.is_about(task))
    }

    /// Whether the question makes sense for a task.
    #[must_use]
    pub const fn is_about(self, task: Task) -> bool {
        match self {
            Self::Context | Self::Concurrency | Self::KvCacheDtype | Self::Quantization => {
                matches!(task, Task::Inference)
            }
            Self::MicroBatch | Self::SequenceLength | Self::Checkpointing | Self::Sharding => {
                matches!(task, Task::Training)
            }
            Self::TensorParallel | Self::PipelineParallel | Self::Gpu | Self::Mig => true,
        }
    }

    /// Whether it asks what fits on given GPUs, not which GPUs would do.
    #[must_use]
    pub const fn needs_capacity(self) -> bool {
        !matches!(self, Self::Gpu | Self::Mig)
    }

    /// The name used in flags and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(question, _)| *question == self).map_or("", |(_, name)| name)
    }

    /// Reads a name.
    #[must_use]
    pub fn from_name(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(question, _)| question)
    }
}
