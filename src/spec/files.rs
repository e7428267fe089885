//! Files of a container whose text is known: keys of ConfigMaps that its volumes show.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::numbers::shown;
use super::pod::{ConfigMapSource, Container, PodTemplate, Volume, VolumeMount};

/// Deepest nesting of lists of objects.
const MAX_LISTS: usize = 4;

/// Keys of a ConfigMap with their texts.
pub type Keys = BTreeMap<String, String>;

/// ConfigMaps by namespace and name.
#[derive(Debug, Clone, Default)]
pub struct ConfigMaps {
    maps: BTreeMap<(String, String), Contents>,
}

#[derive(Debug, Clone, PartialEq)]
enum Contents {
    Keys(Arc<Keys>),
    /// Given more than once with different data.
    Ambiguous,
}

impl ConfigMaps {
    /// Takes every ConfigMap of an object: itself, or the items of a list. Other objects are passed over.
    pub fn collect(&mut self, object: &Value) {
        self.collect_to(object, MAX_LISTS);
    }

    fn collect_to(&mut self, object: &Value, depth: usize) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        match text("/kind") {
            "ConfigMap" if text("/apiVersion") == "v1" => {
                self.insert(text("/metadata/namespace"), text("/metadata/name"), object.get("data"));
            }
            "ConfigMapList" => {
                for item in object.get("items").and_then(Value::as_array).into_iter().flatten() {
                    let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default();
                    self.insert(text("/metadata/namespace"), text("/metadata/name"), item.get("data"));
                }
            }
            kind if kind.ends_with("List") && depth > 0 => {
                for item in object.get("items").and_then(Value::as_array).into_iter().flatten() {
                    self.collect_to(item, depth - 1);
                }
            }
            _ => {}
        }
    }

    fn insert(&mut self, namespace: &str, name: &str, data: Option<&Value>) {
        let data = data.and_then(Value::as_object).into_iter().flatten();
        let keys: Keys = data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        self.add(namespace, name, Arc::new(keys));
    }

    /// Adds one ConfigMap.
    pub fn add(&mut self, namespace: &str, name: &str, keys: Arc<Keys>) {
        let contents = Contents::Keys(keys);
        self.maps
            .entry((namespace.to_owned(), name.to_owned()))
            .and_modify(|before| {
                if *before != contents {
                    *before = Contents::Ambiguous;
                }
            })
            .or_insert(contents);
    }

    /// The keys of a ConfigMap that a pod of `namespace` names. A manifest may leave the namespace to whoever applies it.
    fn keys(&self, namespace: &str, name: &str) -> Result<&Keys, String> {
        let at = |namespace: &str| self.maps.get(&(namespace.to_owned(), name.to_owned()));
        let anywhere = || {
            let mut same = self.maps.iter().filter(|((_, other), _)| other == name).map(|(_, contents)| contents);
            same.next().filter(|_| namespace.is_empty() && same.next().is_none())
        };
        match at(namespace).or_else(|| at("")).or_else(anywhere) {
            Some(Contents::Keys(keys)) => Ok(keys),
            Some(Contents::Ambiguous) => {
                Err(format!("the ConfigMap `{}` is given more than once with different data", shown(name)))
            }
            None => Err(format!("the ConfigMap `{}` that holds it is not known here", shown(name))),
        }
    }
}

/// The files that one container sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    namespace: &'a str,
    volumes: &'a [Volume],
    mounts: &'a [VolumeMount],
    working_dir: &'a str,
    maps: Option<&'a ConfigMaps>,
}

impl<'a> Files<'a> {
    /// Of a container; without `maps` every file is unknown, and the reason says which ConfigMap would hold it.
    pub(super) fn of(pod: &'a PodTemplate, container: &'a Container, maps: Option<&'a ConfigMaps>) -> Self {
        Self {
            namespace: &pod.namespace,
            volumes: &pod.spec.volumes,
            mounts: &container.volume_mounts,
            working_dir: &container.working_dir,
            maps,
        }
    }

    /// No file is known.
    pub(super) const NONE: Self = Self { namespace: "", volumes: &[], mounts: &[], working_dir: "", maps: None };

    /// The keys of a ConfigMap of the pod's namespace, where it is known.
    pub(super) fn config_map(&self, name: &str) -> Option<&'a Keys> {
        self.maps?.keys(self.namespace, name).ok()
    }

    /// The absolute form of a path; a relative one stays so where the directory is the image's.
    pub(super) fn absolute(&self, path: &str) -> String {
        let joined = if path.starts_with('/') || self.working_dir.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.working_dir)
        };
        normal(&joined)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) fn text(&self, path: &str) -> Result<&'a str, String> {
        let path = self.absolute(path);
        let mut best: Option<(&VolumeMount, String)> = None;
        for mount in self.mounts {
            let at = normal(&mount.mount_path);
            let rest = path.strip_prefix(&at).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            let deeper = best.as_ref().is_none_or(|(other, _)| normal(&other.mount_path).len() < at.len());
            if let Some(rest) = rest.filter(|_| deeper) {
                best = Some((mount, rest.trim_start_matches('/').to_owned()));
            }
        }
        let (mount, rest) = best.ok_or("a file of the image is not seen here")?;
        let inner = normal(&format!("{}/{rest}", mount.sub_path));
        let inner = inner.trim_matches('/');
        let volume = self.volumes.iter().find(|volume| volume.name == mount.name);
        let sources = volume.map(sources).unwrap_or_default();
        if sources.is_empty() {
            return Err(format!("a file of the volume `{}` is not seen here", shown(&mount.name)));
        }
        let mut why = String::new();
        for source in sources {
            match self.in_source(source, inner) {
                Ok(text) => return Ok(text),
                Err(problem) => why = problem,
            }
        }
        Err(why)
    }

    fn in_source(&self, source: &ConfigMapSource, path: &str) -> Result<&'a str, String> {
        let key = if source.items.is_empty() {
            Some(path)
        } else {
            source.items.iter().find(|item| normal(&item.path) == path).map(|item| item.key.as_str())
        };
        let unknown = || format!("the ConfigMap `{}` that holds it is not known here", shown(&source.name));
        let keys = self.maps.ok_or_else(unknown)?.keys(self.namespace, &source.name)?;
        let missing = || format!("the ConfigMap `{}` has no key for it", shown(&source.name));
        key.and_then(|key| keys.get(key)).map(String::as_str).ok_or_else(missing)
    }
}

fn sources(volume: &Volume) -> Vec<&ConfigMapSource> {
    let projected = volume.projected.iter().flat_map(|projected| &projected.sources);
    volume.config_map.iter().chain(projected.filter_map(|source| source.config_map.as_ref())).collect()
}

/// Without `.`, `..` and repeated slashes.
pub(super) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn maps(objects: &[Value]) -> ConfigMaps {
        let mut maps = ConfigMaps::default();
        for object in objects {
            maps.collect(object);
        }
        maps
    }

    fn map(namespace: &str, name: &str, data: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data})
    }

    fn pod() -> PodTemplate {
        serde_json::from_value(json!({"metadata": {"namespace": "ml"}, "spec": {
            "containers": [{"name": "c", "workingDir": "/work", "volumeMounts": [
                {"name": "all", "mountPath": "/etc/train/"}, {"name": "some", "mountPath": "/etc/train/deep"},
                {"name": "all", "mountPath": "/work/ds.json", "subPath": "a.json"}, {"name": "both", "mountPath": "/both"},
                {"name": "disk", "mountPath": "/data"}]}],
            "volumes": [{"name": "all", "configMap": {"name": "m"}}, {"name": "disk", "emptyDir": {}},
                {"name": "some", "configMap": {"name": "m", "items": [{"key": "a.json", "path": "sub/x.json"}]}},
                {"name": "both", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "n"}}]}}]}}))
        .unwrap()
    }

    #[test]
    fn volumes_lead_paths_to_keys() {
        let (pod, maps) = (pod(), maps(&[map("ml", "m", &json!({"a.json": "A"})), map("", "n", &json!({"b": "B"}))]));
        let files = Files::of(&pod, &pod.spec.containers[0], Some(&maps));
        for path in ["/etc/train/a.json", "/etc//train/./a.json", "/etc/train/deep/sub/x.json", "ds.json", "./ds.json"]
        {
            assert_eq!(files.text(path), Ok("A"), "{path}");
        }
        assert_eq!(files.text("/both/b"), Ok("B"));
        for (path, why) in [
            ("/etc/train/b.json", "the ConfigMap `m` has no key for it"),
            ("/etc/train/deep/a.json", "the ConfigMap `m` has no key for it"),
            ("/data/a.json", "a file of the volume `disk` is not seen here"),
            ("/opt/a.json", "a file of the image is not seen here"),
            ("../etc/trainer/a.json", "a file of the image is not seen here"),
        ] {
            assert_eq!(files.text(path), Err(why.to_owned()), "{path}");
        }
    }

    #[test]
    fn maps_of_another_namespace_or_given_twice_are_not_taken() {
        let pod = pod();
        let why = |objects: &[Value]| {
            let maps = maps(objects);
            Files::of(&pod, &pod.spec.containers[0], Some(&maps)).text("/etc/train/a.json").map(str::to_owned)
        };
        let unknown = "the ConfigMap `m` that holds it is not known here".to_owned();
        assert_eq!(why(&[map("other", "m", &json!({"a.json": "A"}))]), Err(unknown.clone()));
        assert_eq!(Files::of(&pod, &pod.spec.containers[0], None).text("/etc/train/a.json"), Err(unknown));
        let twice = [map("ml", "m", &json!({"a.json": "A"})), map("ml", "m", &json!({"a.json": "B"}))];
        assert!(why(&twice).unwrap_err().contains("more than once"));
        assert_eq!(why(&[json!({"apiVersion": "v1", "kind": "List", "items": [twice[0]]})]), Ok("A".to_owned()));
    }
}
