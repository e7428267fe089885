//! Pods and what makes pods.

use std::borrow::Borrow;

use serde_json::{Value, json};

/// A pod object under construction, with one container of its own name.
#[derive(Clone, Debug)]
pub(crate) struct Pod(Value);

impl Borrow<Value> for Pod {
    fn borrow(&self) -> &Value {
        &self.0
    }
}

/// A pod that asks for nothing yet.
pub(crate) fn pod(name: &str) -> Pod {
    Pod(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": name, "image": "registry.example/image:1"}]},
    }))
}

impl Pod {
    /// Asks for whole GPUs.
    pub(crate) fn gpus(self, count: u32) -> Self {
        self.resource("nvidia.com/gpu", &count.to_string())
    }

    /// Asks for a resource, as request and limit.
    pub(crate) fn resource(mut self, name: &str, quantity: &str) -> Self {
        let container = self.container();
        container["resources"]["limits"][name] = quantity.into();
        container["resources"]["requests"][name] = quantity.into();
        self
    }

    /// Sets the image.
    pub(crate) fn image(mut self, image: &str) -> Self {
        self.container()["image"] = image.into();
        self
    }

    /// Sets the command, the part before the arguments.
    pub(crate) fn command(mut self, command: &[&str]) -> Self {
        self.container()["command"] = json!(command);
        self
    }

    /// Sets the arguments.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.container()["args"] = json!(arguments);
        self
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        let container = self.container();
        match container["env"].as_array_mut() {
            Some(all) => all.push(json!({"name": name, "value": value})),
            None => container["env"] = json!([{"name": name, "value": value}]),
        }
        self
    }

    /// Sets a label.
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    /// Sets an annotation.
    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][key] = value.into();
        self
    }

    /// Runs only on nodes with this label.
    pub(crate) fn on_nodes_with(mut self, key: &str, value: &str) -> Self {
        self.0["spec"]["nodeSelector"][key] = value.into();
        self
    }

    /// The object.
    pub(crate) fn into_object(self) -> Value {
        self.0
    }

    /// The pod as the template of a controller, whose pods have the label `app`.
    fn template(&self, app: &str) -> Value {
        let mut pod = self.clone().label("app", app);
        json!({"metadata": {
            "labels": pod.0["metadata"]["labels"].take(),
            "annotations": pod.0["metadata"]["annotations"].take(),
        }, "spec": pod.0["spec"].take()})
    }

    fn container(&mut self) -> &mut Value {
        &mut self.0["spec"]["containers"][0]
    }
}

/// A Deployment of such pods.
pub(crate) fn deployment(name: &str, replicas: u32, pod: &Pod) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod.template(name)},
    })
}

/// A Job that runs such a pod once.
pub(crate) fn job(name: &str, pod: &Pod) -> Value {
    let mut template = pod.template(name);
    template["spec"]["restartPolicy"] = "Never".into();
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    })
}
