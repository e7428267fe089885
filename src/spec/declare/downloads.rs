//! Models that a container fetches for the server, which then only sees a folder, or gets its model by request.

use crate::spec::pod::{Container, PodTemplate};

/// Words after which a download command names a repository.
const COMMANDS: &[&[&str]] = &[
    &["huggingface-cli", "download"],
    &["hf", "download"],
    &["modelscope", "download", "--model"],
    &["tune", "download"],
];
/// Ends of words after which a Python script does.
const CALLS: &[&str] = &["repo_id=", "snapshot_download(", "hf_hub_download("];
/// Where files of repositories lie.
const HUB: &str = "https://huggingface.co/";

/// The one model that the pod's containers fetch, with the container that does; none if they fetch several.
pub(super) fn model(pod: &PodTemplate) -> Option<(String, &str)> {
    let mut found: Option<(String, &str)> = None;
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        for id in ids(pod, container) {
            match &found {
                Some((known, _)) if *known == id => {}
                Some(_) => return None,
                None => found = Some((id, &container.name)),
            }
        }
    }
    found
}

/// What a container's words fetch: `hf://ORG/NAME`, what follows a download command, a file by its address.
fn ids(pod: &PodTemplate, container: &Container) -> Vec<String> {
    let words: Vec<&str> = container
        .command
        .iter()
        .chain(&container.args)
        .chain(&container.after_start)
        .flat_map(|word| word.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\'' | ')')))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let rest = words.get(at..).unwrap_or_default();
        if let Some(id) = word.strip_prefix("hf://").filter(|_| !serves(pod, container)) {
            found.extend(Some(id).filter(|id| is_hub_id(id)).map(str::to_owned));
        } else if let Some(address) = word.strip_prefix(HUB) {
            found.extend(file(address));
        } else if let ["ollama", "pull" | "run", name, ..] = rest {
            found.extend(Some(*name).filter(|name| is_plain(name)).map(str::to_owned));
        } else if let Some(command) = COMMANDS.iter().find(|command| rest.starts_with(command)) {
            let behind = rest.get(command.len()..).unwrap_or_default();
            found.extend(behind.first().filter(|id| is_hub_id(id)).map(|id| one_of(id, behind.get(1))));
        } else if CALLS.iter().any(|call| word.ends_with(call)) {
            found.extend(rest.get(1).filter(|id| is_hub_id(id)).map(|id| (*id).to_owned()));
        }
    }
    found
}

/// A container with GPUs names its own model by such an address.
fn serves(pod: &PodTemplate, container: &Container) -> bool {
    crate::spec::gpus::request(pod, container).is_some()
}

/// The repository, or its GGUF file where one is named, since that has a file type.
fn one_of(id: &str, file: Option<&&str>) -> String {
    let is_gguf = |file: &&&str| file.rsplit_once('.').is_some_and(|(_, kind)| kind.eq_ignore_ascii_case("gguf"));
    (*file.filter(is_gguf).unwrap_or(&id)).to_owned()
}

/// `ORG/NAME/resolve/REVISION/FILE`.
fn file(address: &str) -> Option<String> {
    let (id, file) = address.split_once("/resolve/").filter(|(id, _)| is_hub_id(id))?;
    let file = file.split('?').next()?.rsplit('/').next()?;
    let weights = [".gguf", ".safetensors"].iter().any(|ending| file.ends_with(ending));
    weights.then(|| one_of(id, Some(&file)))
}

/// Nothing in it is only known at run time.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/'))
}

/// `ORG/NAME` without anything that is only known at run time.
fn is_hub_id(word: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    word.split_once('/').is_some_and(|(org, name)| plain(org) && plain(name) && !word.starts_with(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(init: &str) -> Option<String> {
        let pod = format!(r#"{{"spec":{{"initContainers":{init},"containers":[{{"name":"c"}}]}}}}"#);
        let pod: PodTemplate = serde_json::from_str(&pod).unwrap();
        model(&pod).map(|(id, _)| id)
    }

    #[test]
    fn addresses_and_download_commands_name_the_model() {
        let kserve = r#"[{"name":"storage-initializer","args":["hf://Qwen/Qwen3-8B","/mnt/models"]}]"#;
        assert_eq!(fetched(kserve).as_deref(), Some("Qwen/Qwen3-8B"));
        let script = r#"[{"name":"get","command":["sh","-c","pip install -U hf && huggingface-cli download meta-llama/Llama-3.1-8B --local-dir /m"]}]"#;
        assert_eq!(fetched(script).as_deref(), Some("meta-llama/Llama-3.1-8B"));
    }

    #[test]
    fn scripts_and_addresses_name_it_too() {
        let python = r#"[{"name":"get","command":["python","-c","snapshot_download(repo_id='Qwen/Qwen3-8B', local_dir='/m')"]}]"#;
        assert_eq!(fetched(python).as_deref(), Some("Qwen/Qwen3-8B"));
        let file = r#"[{"name":"get","args":["curl -L https://huggingface.co/a/Qwen3-8B-GGUF/resolve/main/Qwen3-8B-Q5_K_M.gguf"]}]"#;
        assert_eq!(fetched(file).as_deref(), Some("Qwen3-8B-Q5_K_M.gguf"));
        let named = r#"[{"name":"get","args":["hf download a/Qwen3-8B-GGUF Qwen3-8B-Q4_0.gguf --local-dir /m"]}]"#;
        assert_eq!(fetched(named).as_deref(), Some("Qwen3-8B-Q4_0.gguf"));
        let hook =
            r#"[{"name":"o","lifecycle":{"postStart":{"exec":{"command":["sh","-c","ollama pull qwen3:8b"]}}}}]"#;
        assert_eq!(fetched(hook).as_deref(), Some("qwen3:8b"));
    }

    #[test]
    fn what_is_not_certain_is_not_taken() {
        assert_eq!(fetched(r#"[{"name":"a","args":["hf://a/b"]},{"name":"b","args":["hf://c/d"]}]"#), None);
        assert_eq!(fetched(r#"[{"name":"a","args":["hf","download","$(MODEL)"]}]"#), None);
        assert_eq!(fetched(r#"[{"name":"a","args":["s3://bucket/model","/mnt/models"]}]"#), None);
        assert_eq!(fetched("[]"), None);
    }
}
