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

#[cfg(test)]
mod tests {
    use super::model_of;
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
        assert_eq!(model_of("./my_config.yaml"), None);
        assert_eq!(model_of("eleuther/config"), None);
    }
}
