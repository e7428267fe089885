//! Number formats of weights, caches and states.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number format. Widths include no scales: those belong to the quantization that uses the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit float.
    Fp32,
    /// 16-bit float with 5 exponent bits.
    Fp16,
    /// 16-bit float with 8 exponent bits.
    Bf16,
    /// 8-bit float, either layout.
    Fp8,
    /// 8-bit integer.
    Int8,
    /// 4-bit integer.
    Int4,
    /// 4-bit float (NVFP4, MXFP4) without its scales.
    Fp4,
}

impl DType {
    /// Every format, in the order they are documented.
    pub const ALL: [Self; 7] = [Self::Fp32, Self::Fp16, Self::Bf16, Self::Fp8, Self::Int8, Self::Int4, Self::Fp4];

    /// Bits per element.
    #[must_use]
    pub const fn bits(self) -> u64 {
        match self {
            Self::Fp32 => 32,
            Self::Fp16 | Self::Bf16 => 16,
            Self::Fp8 | Self::Int8 => 8,
            Self::Int4 | Self::Fp4 => 4,
        }
    }

    /// Bytes per element, fractional for 4-bit formats.
    #[must_use]
    pub const fn bytes(self) -> f64 {
        self.bits() as f64 / 8.0
    }

    /// The name used in annotations, flags and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Fp4 => "fp4",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no number format that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown number format `{0}`; known: fp32, fp16, bf16, fp8, int8, int4, fp4")]
pub struct UnknownDType(pub String);

impl FromStr for DType {
    type Err = UnknownDType;

    /// Accepts the names of annotations, of vLLM (`float16`, `half`, `fp8_e4m3`) and of torch (`torch.bfloat16`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        Ok(match lower.strip_prefix("torch.").unwrap_or(&lower) {
            "fp32" | "float32" | "float" | "f32" => Self::Fp32,
            "fp16" | "float16" | "half" | "f16" => Self::Fp16,
            "bf16" | "bfloat16" => Self::Bf16,
            "fp8" | "fp8_e4m3" | "fp8_e5m2" | "fp8_e4m3fn" | "fp8_inc" | "float8_e4m3fn" | "float8_e5m2" | "f8" => {
                Self::Fp8
            }
            "int8" | "i8" => Self::Int8,
            "int4" | "i4" => Self::Int4,
            "fp4" | "nvfp4" | "mxfp4" => Self::Fp4,
            _ => return Err(UnknownDType(text.trim().to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_foreign_spellings_are_read() {
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse::<DType>(), Ok(dtype));
        }
        assert_eq!("torch.bfloat16".parse(), Ok(DType::Bf16));
        assert_eq!("half".parse(), Ok(DType::Fp16));
        assert!("bf17".parse::<DType>().is_err());
    }
}
