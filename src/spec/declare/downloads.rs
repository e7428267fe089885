//! Models that an init container fetches for the server, which then only sees a folder.

use crate::spec::pod::{Container, PodTemplate};

/// Words after which a download command names a repository.
const COMMANDS: &[&[&str]] =
    &[&["huggingface-cli", "download"], &["hf", "download"], &["modelscope", "download", "--model"]];

/// The one model that the pod's init containers fetch, with the container that does; none if they fetch several.
pub(super) fn model(pod: &PodTemplate) -> Option<(String, &str)> {
    let mut found: Option<(String, &str)> = None;
    for container in &pod.spec.init_containers {
        for id in ids(container) {
            match &found {
                Some((known, _)) if *known == id => {}
                Some(_) => return None,
                None => found = Some((id, &container.name)),
            }
        }
    }
    found
}

/// Hub ids in a container's words: `hf://ORG/NAME`, or what follows a download command.
fn ids(container: &Container) -> Vec<String> {
    let words: Vec<&str> = container
        .command
        .iter()
        .chain(&container.args)
        .flat_map(|word| word.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\'')))
        .filter(|word| !word.is_empty())
        .collect();
    let addressed = words.iter().filter_map(|word| word.strip_prefix("hf://"));
    let commanded = (0..words.len()).filter_map(|at| {
        let rest = words.get(at..)?;
        let command = COMMANDS.iter().find(|command| rest.starts_with(command))?;
        rest.get(command.len()).copied()
    });
    addressed.chain(commanded).filter(|id| is_hub_id(id)).map(str::to_owned).collect()
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
    fn what_is_not_certain_is_not_taken() {
        assert_eq!(fetched(r#"[{"name":"a","args":["hf://a/b"]},{"name":"b","args":["hf://c/d"]}]"#), None);
        assert_eq!(fetched(r#"[{"name":"a","args":["hf","download","$(MODEL)"]}]"#), None);
        assert_eq!(fetched(r#"[{"name":"a","args":["s3://bucket/model","/mnt/models"]}]"#), None);
        assert_eq!(fetched("[]"), None);
    }
}
