//! `--solve`: which questions are asked, and whether they can be answered.

use super::error::{Failure, code};
use crate::decide::report::{Outcome, Solution};
use crate::decide::solve::Question;
use crate::estimate::workload::Task;

/// Names that `--solve` takes.
pub(super) const NAMES: &[&str] = &[
    "all",
    "context",
    "concurrency",
    "micro-batch",
    "sequence-length",
    "tensor-parallel",
    "pipeline-parallel",
    "kv-cache-dtype",
    "quantization",
    "checkpointing",
    "sharding",
    "gpu",
    "mig",
];

/// What `--solve` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything that can be answered.
    All,
    /// One question.
    One(Question),
}

/// Reads a name of `--solve`.
pub(super) fn read(text: &str) -> Option<Asked> {
    if text == "all" { Some(Asked::All) } else { Question::from_name(text).map(Asked::One) }
}

/// The questions to answer, in order, each once.
pub(super) fn questions(asked: &[Asked], task: Task, with_capacity: bool) -> Result<Vec<Question>, Failure> {
    for one in asked {
        let Asked::One(question) = one else { continue };
        let name = question.name();
        if !question.is_about(task) {
            let possible: Vec<&str> = Question::about(task).map(Question::name).collect();
            let message = format!("`--solve {name}` is no question about {}", task_name(task));
            return Err(Failure::new(code::USAGE, message).hint(format!("ask one of {}", possible.join(", "))));
        }
        if question.needs_capacity() && !with_capacity {
            let message = format!("`--solve {name}` asks what fits on a GPU, and none is given");
            return Err(Failure::new(code::USAGE, message)
                .hint("add --gpu GPU (see `vramguard gpus`) or --nodes FILE; `--solve gpu` needs neither"));
        }
    }
    let all = asked.contains(&Asked::All);
    let wanted = |question: &Question| {
        asked.contains(&Asked::One(*question)) || (all && (with_capacity || !question.needs_capacity()))
    };
    Ok(Question::about(task).filter(wanted).collect())
}

const fn task_name(task: Task) -> &'static str {
    match task {
        Task::Inference => "inference",
        Task::Training => "training",
    }
}

/// Whether something that was asked has no answer.
pub(super) fn unanswered(solutions: &[Solution]) -> bool {
    solutions.iter().any(|solution| solution.outcome == Outcome::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_every_question_has_one() {
        assert!(NAMES.iter().all(|name| read(name).is_some()));
        for task in [Task::Inference, Task::Training] {
            assert!(Question::about(task).all(|question| NAMES.contains(&question.name())));
        }
        assert_eq!(read("contxt"), None);
    }

    #[test]
    fn all_asks_what_can_be_answered() {
        let without = questions(&[Asked::All], Task::Inference, false).unwrap();
        assert_eq!(without, [Question::Gpu, Question::Mig]);
        let with = questions(&[Asked::All, Asked::One(Question::Gpu)], Task::Training, true).unwrap();
        assert!(with.contains(&Question::MicroBatch) && !with.contains(&Question::Context), "{with:?}");
        assert!(questions(&[Asked::One(Question::Context)], Task::Inference, false).is_err());
        assert!(questions(&[Asked::One(Question::Context)], Task::Training, true).is_err());
    }
}
