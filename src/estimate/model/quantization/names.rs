//! Quantizations by the names that users write.

use super::{Quantization, Scales};

/// One stored 16-bit scale and one 4-bit zero point per group of 128 (AWQ, GPTQ).
const GROUP_128: Scales = Scales::PerGroup { group: 128, bytes: 2.5 };
/// One fp32 value per output row.
const ROW: Scales = Scales::PerRow { bytes: 4.0 };
/// NVFP4: one fp8 scale per 16.
const GROUP_16: Scales = Scales::PerGroup { group: 16, bytes: 1.0 };
/// The MX formats: one shared exponent per 32.
const GROUP_32: Scales = Scales::PerGroup { group: 32, bytes: 1.0 };
/// bitsandbytes: one fp32 value per 64.
const NF4: Scales = Scales::PerGroup { group: 64, bytes: 4.0 };
/// bitsandbytes with double quantization: one 8-bit value per 64 and one fp32 value per 256 of those.
const NF4_DOUBLE: Scales = Scales::PerGroup { group: 64, bytes: 1.0 + 4.0 / 256.0 };

/// Name, other spellings, bits, side data.
type Row = (&'static str, &'static [&'static str], f64, Scales);

/// Quantizations of linear layers.
const NAMED: &[Row] = &[
    ("awq", &["awq_marlin", "awq-int4"], 4.0, GROUP_128),
    ("gptq", &["gptq_marlin", "gptq-int4", "gptq_bitblas", "gptq_marlin_24"], 4.0, GROUP_128),
    ("gptq-int8", &["gptq8"], 8.0, Scales::PerGroup { group: 128, bytes: 3.0 }),
    ("int4", &["w4a16", "awq-w4a16"], 4.0, Scales::PerGroup { group: 128, bytes: 2.0 }),
    ("fp8", &["fp8_e4m3", "fp8-dynamic", "modelopt", "ptpc_fp8", "w8a8-fp8"], 8.0, Scales::None),
    ("fbgemm_fp8", &[], 8.0, ROW),
    ("mxfp8", &[], 8.0, GROUP_32),
    ("nvfp4", &["modelopt_fp4", "fp4"], 4.0, GROUP_16),
    ("mxfp4", &[], 4.0, GROUP_32),
    ("int8", &["w8a8", "w8a16", "llm.int8", "bitsandbytes-int8", "bnb-8bit", "eetq", "experts_int8"], 8.0, ROW),
    ("nf4", &["bnb-nf4", "bitsandbytes-nf4", "bitsandbytes-fp4", "bnb-4bit"], 4.0, NF4),
    ("bitsandbytes", &["bnb", "nf4-double"], 4.0, NF4_DOUBLE),
];

/// GGUF file types and their average bits per weight over a whole file, embedding and head included.
///
/// Source: Llama 3.1 8B in llama.cpp's `tools/quantize/README.md`; `q4_0`, `q4_1`, `q5_0`, `q5_1`, `q3_k_m` from the
/// sizes that its `--help` lists for the 8B model. Other models differ by a few percent: their embeddings weigh more
/// or less.
const GGUF: &[(&str, f64)] = &[
    ("f32", 32.0),
    ("bf16", 16.0),
    ("f16", 16.0005),
    ("q8_0", 8.5008),
    ("q6_k", 6.5633),
    ("q5_1", 6.04),
    ("q5_k_m", 5.7036),
    ("q5_0", 5.57),
    ("q5_k_s", 5.5704),
    ("q4_1", 5.11),
    ("q4_k_m", 4.8944),
    ("iq4_nl", 4.6818),
    ("q4_k_s", 4.6672),
    ("q4_0", 4.64),
    ("iq4_xs", 4.4597),
    ("q3_k_l", 4.2979),
    ("mxfp4_moe", 4.25),
    ("q3_k_m", 4.0),
    ("iq3_m", 3.7628),
    ("iq3_s", 3.6606),
    ("q3_k_s", 3.6429),
    ("iq3_xs", 3.4977),
    ("iq3_xxs", 3.2548),
    ("q2_k", 3.1593),
    ("q2_k_s", 2.9697),
    ("iq2_m", 2.9294),
    ("iq2_s", 2.7403),
    ("iq2_xs", 2.5882),
    ("iq2_xxs", 2.3824),
    ("iq1_m", 2.146),
    ("iq1_s", 2.0042),
];

impl Quantization {
    /// The quantization that users call `name` (`awq`, `fp8`, `q4_k_m`...), upper or lower case; `None` if there is no
    /// such, and for `none`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let lower = name.trim().to_ascii_lowercase();
        let row = NAMED.iter().find(|(known, others, ..)| *known == lower || others.contains(&lower.as_str()));
        if let Some((known, _, bits, scales)) = row {
            return Some(Self::of_linear(known, *bits, *scales));
        }
        let gguf = lower.strip_prefix("gguf-").unwrap_or(&lower).replace('-', "_");
        let (known, bits) = GGUF.iter().find(|(known, _)| *known == gguf)?;
        // 16 and 32 bit are formats of the GPU's too: there they are no quantization.
        let plain = matches!(*known, "f32" | "bf16" | "f16") && !lower.starts_with("gguf-");
        (!plain).then(|| Self { whole_file: true, ..Self::of_linear(known, *bits, Scales::None) })
    }

    /// Every name that [`Quantization::from_name`] knows, without other spellings.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let gguf = GGUF.iter().map(|(name, _)| *name).filter(|name| !matches!(*name, "f32" | "bf16" | "f16"));
        NAMED.iter().map(|(name, ..)| *name).chain(gguf)
    }

    /// A quantization of all linear layers.
    pub(super) fn of_linear(name: &str, bits: f64, scales: Scales) -> Self {
        Self {
            name: name.to_owned(),
            bits,
            scales,
            ignored: Vec::new(),
            experts_only: false,
            exceptions: Vec::new(),
            whole_file: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes per weight of a 4096 x 4096 matrix.
    fn per_weight(name: &str) -> f64 {
        Quantization::from_name(name).unwrap().matrix_bytes(4096.0, 4096.0) / (4096.0 * 4096.0)
    }

    #[test]
    fn bytes_per_weight_include_scales() {
        let expected = [
            ("awq", 0.5195),
            ("gptq", 0.5195),
            ("gptq-int8", 1.0234),
            ("int4", 0.5156),
            ("fp8", 1.0),
            ("nvfp4", 0.5625),
            ("mxfp4", 0.53125),
            ("nf4", 0.5625),
            ("bitsandbytes", 0.5159),
            ("int8", 1.001),
            ("Q4_K_M", 0.6118),
            ("q8_0", 1.0626),
        ];
        for (name, bytes) in expected {
            assert!((per_weight(name) - bytes).abs() < 1e-4, "{name}: {} instead of {bytes}", per_weight(name));
        }
    }

    #[test]
    fn unknown_names_and_none_are_no_quantization() {
        for name in ["none", "", "awq2", "q4_k_xxl", "bf16"] {
            assert_eq!(Quantization::from_name(name), None, "{name}");
        }
        assert!(Quantization::names().all(|name| Quantization::from_name(name).is_some()));
    }
}
