//! Which objects carry pod templates, and where: a further kind is a further row.

use serde_json::Value;

use super::made;
use super::pods::{self, Pods};

/// What lies at the end of a path.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// `metadata` and `spec` of a pod.
    PodTemplate,
    /// The pod's `spec` alone.
    PodSpec,
    /// Something that a controller makes a pod from: the function makes a template that runs the same, from the part
    /// and the whole object; `None` where there is nothing to run.
    Made(fn(part: &Value, object: &Value) -> Option<Value>),
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::PodTemplate, Self::PodTemplate) | (Self::PodSpec, Self::PodSpec) | (Self::Made(_), Self::Made(_))
        )
    }
}

/// A place in an object.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Path, dotted; `[]` steps into every item of a list, `{}` into every value of a map, an empty path is the object
    /// itself.
    pub path: &'static str,
    /// What lies there.
    pub shape: Shape,
}

/// A kind that carries pod templates.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// API group; empty for the core. Any version of it counts.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Where its templates are; none for kinds that are only completed by other objects.
    pub parts: &'static [Part],
    /// Path to the number of replicas; empty without.
    pub replicas: &'static str,
    /// Pods that hold one copy of the model together.
    pub(super) pods: Pods,
}

const fn template(path: &'static str) -> Part {
    Part { path, shape: Shape::PodTemplate }
}

const fn spec(path: &'static str) -> Part {
    Part { path, shape: Shape::PodSpec }
}

const fn made(path: &'static str, make: fn(&Value, &Value) -> Option<Value>) -> Part {
    Part { path, shape: Shape::Made(make) }
}

const fn row(group: &'static str, kind: &'static str, parts: &'static [Part], replicas: &'static str) -> Kind {
    Kind { group, kind, parts, replicas, pods: pods::unsaid }
}

const fn group(group: &'static str, kind: &'static str, parts: &'static [Part], pods: Pods) -> Kind {
    Kind { group, kind, parts, replicas: "", pods }
}

/// Built-in kinds, and those with a pod template like theirs.
const fn controller(group: &'static str, kind: &'static str) -> Kind {
    const TEMPLATE: &[Part] = &[template("spec.template")];
    row(group, kind, TEMPLATE, "spec.replicas")
}

/// Every kind that is read.
pub const KINDS: &[Kind] = &[
    row("", "Pod", &[template("")], ""),
    row("", "PodTemplate", &[template("template")], ""),
    controller("", "ReplicationController"),
    controller("apps", "Deployment"),
    controller("apps", "ReplicaSet"),
    controller("apps", "StatefulSet"),
    row("apps", "DaemonSet", &[template("spec.template")], ""),
    // A copy of another object's template.
    row("apps", "ControllerRevision", &[], ""),
    Kind { pods: pods::indexed_job, ..row("batch", "Job", &[template("spec.template")], "spec.parallelism") },
    Kind {
        pods: pods::indexed_job,
        ..row("batch", "CronJob", &[template("spec.jobTemplate.spec.template")], "spec.jobTemplate.spec.parallelism")
    },
    Kind {
        pods: pods::leader_and_workers,
        ..row(
            "leaderworkerset.x-k8s.io",
            "LeaderWorkerSet",
            &[
                template("spec.leaderWorkerTemplate.leaderTemplate"),
                made("spec.leaderWorkerTemplate.workerTemplate", made::group::leader_worker),
            ],
            "spec.replicas",
        )
    },
    group(
        "jobset.x-k8s.io",
        "JobSet",
        &[template("spec.replicatedJobs[].template.spec.template")],
        pods::replicated_job,
    ),
    group("kubeflow.org", "PyTorchJob", &[template("spec.pytorchReplicaSpecs{}.template")], pods::all_roles),
    group("kubeflow.org", "TFJob", &[template("spec.tfReplicaSpecs{}.template")], pods::all_roles),
    group("kubeflow.org", "XGBoostJob", &[template("spec.xgbReplicaSpecs{}.template")], pods::all_roles),
    group("kubeflow.org", "PaddleJob", &[template("spec.paddleReplicaSpecs{}.template")], pods::all_roles),
    group("kubeflow.org", "JAXJob", &[template("spec.jaxReplicaSpecs{}.template")], pods::all_roles),
    group("kubeflow.org", "MPIJob", &[made("spec.mpiReplicaSpecs{}.template", made::group::mpi)], pods::mpi_workers),
    group("trainer.kubeflow.org", "TrainJob", &[made("spec", made::trainjob::node)], pods::train_nodes),
    row("trainer.kubeflow.org", "TrainingRuntime", &[], ""),
    row("trainer.kubeflow.org", "ClusterTrainingRuntime", &[], ""),
    group(
        "ray.io",
        "RayCluster",
        &[template("spec.headGroupSpec.template"), made("spec.workerGroupSpecs[].template", made::group::ray_worker)],
        pods::several,
    ),
    group(
        "ray.io",
        "RayJob",
        &[
            template("spec.rayClusterSpec.headGroupSpec.template"),
            template("spec.rayClusterSpec.workerGroupSpecs[].template"),
            template("spec.submitterPodTemplate"),
        ],
        pods::several,
    ),
    group(
        "ray.io",
        "RayService",
        &[
            made("spec.rayClusterConfig.headGroupSpec.template", made::ray::served),
            made("spec.rayClusterConfig.workerGroupSpecs[].template", made::ray::served),
        ],
        pods::several,
    ),
    Kind {
        pods: pods::predictor,
        ..row(
            "serving.kserve.io",
            "InferenceService",
            &[
                made("spec.predictor", made::kserve::predictor),
                spec("spec.predictor.workerSpec"),
                spec("spec.transformer"),
                spec("spec.explainer"),
            ],
            "spec.predictor.minReplicas",
        )
    },
    row("serving.kserve.io", "ServingRuntime", &[], ""),
    row("serving.kserve.io", "ClusterServingRuntime", &[], ""),
    row("serving.kserve.io", "LLMInferenceServiceConfig", &[], ""),
    Kind {
        pods: pods::llm_workers,
        ..row(
            "serving.kserve.io",
            "LLMInferenceService",
            &[
                made("spec.template", made::kserve::llm),
                made("spec.worker", made::kserve::llm),
                made("spec.prefill.template", made::kserve::llm_prefill),
                made("spec.prefill.worker", made::kserve::llm_prefill),
            ],
            "spec.replicas",
        )
    },
    row("argoproj.io", "Workflow", &[made("spec.templates[]", made::argo::step)], ""),
    row("argoproj.io", "WorkflowTemplate", &[made("spec.templates[]", made::argo::step)], ""),
    row("argoproj.io", "ClusterWorkflowTemplate", &[made("spec.templates[]", made::argo::step)], ""),
    row("argoproj.io", "CronWorkflow", &[made("spec.workflowSpec.templates[]", made::argo::step)], ""),
    controller("argoproj.io", "Rollout"),
    group("batch.volcano.sh", "Job", &[template("spec.tasks[].template")], pods::all_tasks),
    row("serving.knative.dev", "Service", &[template("spec.template")], ""),
    row("serving.knative.dev", "Configuration", &[template("spec.template")], ""),
    row("serving.knative.dev", "Revision", &[spec("spec")], ""),
    group("kaito.sh", "Workspace", &[made("", made::kaito::workspace)], pods::kaito_nodes),
    group("kaito.sh", "InferenceSet", &[made("spec.template", made::kaito::workspace)], pods::kaito_nodes),
    Kind {
        pods: pods::several,
        ..row("grove.io", "PodCliqueSet", &[spec("spec.template.cliques[].spec.podSpec")], "spec.replicas")
    },
    group(
        "nvidia.com",
        "DynamoGraphDeployment",
        &[made("spec.services{}", made::dynamo::service), template("spec.components[].podTemplate")],
        pods::dynamo_nodes,
    ),
    group("nvidia.com", "DynamoComponentDeployment", &[made("spec", made::dynamo::service)], pods::dynamo_nodes),
    Kind {
        pods: pods::nim_nodes,
        ..row("apps.nvidia.com", "NIMService", &[made("spec", made::nim::service)], "spec.replicas")
    },
    row("kubeai.org", "Model", &[made("spec", made::kubeai::model)], "spec.minReplicas"),
    row("orchestration.aibrix.ai", "StormService", &[template("spec.template.spec.roles[].template")], "spec.replicas"),
    row("orchestration.aibrix.ai", "RoleSet", &[template("spec.roles[].template")], ""),
    row("orchestration.aibrix.ai", "PodSet", &[template("spec.template")], ""),
];
