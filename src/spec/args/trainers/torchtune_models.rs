//! The model that a torchtune config is named after: `llama3_1/8B_lora_single_device` trains Llama-3.1-8B.

/// Directory of the config, what comes before and after the size in the model's id, and whether the size is lower case.
const FAMILIES: &[(&str, &str, &str, bool)] = &[
    ("llama2", "meta-llama/Llama-2-", "-hf", true),
    ("llama3", "meta-llama/Meta-Llama-3-", "", false),
    ("llama3_1", "meta-llama/Llama-3.1-", "", false),
    ("llama3_2", "meta-llama/Llama-3.2-", "", false),
    ("llama3_3", "meta-llama/Llama-3.3-", "-Instruct", false),
    ("code_llama2", "codellama/CodeLlama-", "-hf", true),
    ("mistral", "mistralai/Mistral-", "-v0.1", false),
    ("gemma", "google/gemma-", "", true),
    ("gemma2", "google/gemma-2-", "", true),
    ("phi3", "microsoft/Phi-3-", "-4k-instruct", true),
    ("qwen2", "Qwen/Qwen2-", "", false),
    ("qwen2_5", "Qwen/Qwen2.5-", "", false),
    ("qwen3", "Qwen/Qwen3-", "", false),
];

/// The model's Hugging Face id, where the config is one of torchtune's own.
pub(super) fn model_of(config: &str) -> Option<String> {
    let (family, name) = config.split_once('/')?;
    let (_, before, after, lower) = FAMILIES.iter().find(|(directory, ..)| *directory == family)?;
    let size = name.split('_').next().filter(|size| !size.is_empty() && size.len() <= 8)?;
    let size = if *lower { size.to_ascii_lowercase() } else { size.to_owned() };
    Some(format!("{before}{size}{after}"))
}

/// Builders of models whose names do not follow the rule: module, rest of the builder's name, model.
const BUILDERS: &[(&str, &str, &str)] = &[
    ("llama4", "scout_17b_16e", "meta-llama/Llama-4-Scout-17B-16E-Instruct"),
    ("llama4", "maverick_17b_128e", "meta-llama/Llama-4-Maverick-17B-128E-Instruct"),
    ("llama3_2_vision", "11b", "meta-llama/Llama-3.2-11B-Vision-Instruct"),
    ("llama3_2_vision", "90b", "meta-llama/Llama-3.2-90B-Vision-Instruct"),
    ("phi4", "14b", "microsoft/phi-4"),
];

/// The model of a builder such as `torchtune.models.llama3_1.qlora_llama3_1_8b`.
pub(super) fn built_by(builder: &str) -> Option<String> {
    let (module, name) = builder.strip_prefix("torchtune.models.")?.split_once('.')?;
    let name = name.strip_prefix("qlora_").or_else(|| name.strip_prefix("lora_")).unwrap_or(name);
    let size = name.strip_prefix(module)?.strip_prefix('_')?;
    if let Some((.., model)) = BUILDERS.iter().find(|(family, rest, _)| *family == module && *rest == size) {
        return Some((*model).to_owned());
    }
    let size = size.trim_end_matches("_instruct").trim_end_matches("_base").replace('_', ".");
    // The tables are of directories, which have the modules' names; sizes there are upper case.
    model_of(&format!("{module}/{}", if size == "mini" { size } else { size.to_ascii_uppercase() }))
}

#[cfg(test)]
mod tests {
    use super::{built_by, model_of};
    use crate::facts::catalog::Catalog;

    #[test]
    fn configs_name_models_of_the_catalogue() {
        for config in [
            "llama2/7B_qlora_single_device",
            "llama3/8B_full",
            "llama3_1/8B_lora_single_device",
            "llama3_1/70B_lora",
            "llama3_2/1B_full",
            "llama3_3/70B_lora",
            "mistral/7B_lora",
            "gemma2/9B_full",
            "phi3/mini_full",
            "qwen2_5/14B_lora_single_device",
        ] {
            let model = model_of(config).unwrap();
            assert!(Catalog::embedded().find(&model).is_ok(), "{config}: {model}");
        }
        for (builder, model) in [
            ("torchtune.models.llama3_1.qlora_llama3_1_8b", "meta-llama/Llama-3.1-8B"),
            ("torchtune.models.llama2.lora_llama2_70b", "meta-llama/Llama-2-70b-hf"),
            ("torchtune.models.qwen2.qwen2_0_5b", "Qwen/Qwen2-0.5B"),
            ("torchtune.models.phi3.phi3_mini", "microsoft/Phi-3-mini-4k-instruct"),
            ("torchtune.models.qwen3.lora_qwen3_8b_base", "Qwen/Qwen3-8B"),
        ] {
            assert_eq!(built_by(builder).as_deref(), Some(model), "{builder}");
            assert!(Catalog::embedded().find(model).is_ok(), "{model}");
        }
        assert_eq!(built_by("torchtune.models.clip.clip_vision_encoder"), None);
        assert_eq!(model_of("./my_config.yaml"), None);
        assert_eq!(model_of("eleuther/config"), None);
    }
}
