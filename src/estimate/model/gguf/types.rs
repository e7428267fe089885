//! The formats of ggml tensors: elements and bytes of a block.

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    id: u32,
    /// Its name in ggml.
    pub(super) name: &'static str,
    /// Elements of a block.
    pub(super) block: u64,
    /// Bytes of a block.
    pub(super) bytes: u64,
}

const fn format(id: u32, name: &'static str, block: u64, bytes: u64) -> Format {
    Format { id, name, block, bytes }
}

/// Every format of files by its number in `ggml.h`. 4, 5 and 36 to 38 were withdrawn; 31 to 33 are rows of `Q4_0` in
/// another order.
const FORMATS: &[Format] = &[
    format(0, "F32", 1, 4),
    format(1, "F16", 1, 2),
    format(2, "Q4_0", 32, 18),
    format(3, "Q4_1", 32, 20),
    format(6, "Q5_0", 32, 22),
    format(7, "Q5_1", 32, 24),
    format(8, "Q8_0", 32, 34),
    format(9, "Q8_1", 32, 36),
    format(10, "Q2_K", 256, 84),
    format(11, "Q3_K", 256, 110),
    format(12, "Q4_K", 256, 144),
    format(13, "Q5_K", 256, 176),
    format(14, "Q6_K", 256, 210),
    format(15, "Q8_K", 256, 292),
    format(16, "IQ2_XXS", 256, 66),
    format(17, "IQ2_XS", 256, 74),
    format(18, "IQ3_XXS", 256, 98),
    format(19, "IQ1_S", 256, 50),
    format(20, "IQ4_NL", 32, 18),
    format(21, "IQ3_S", 256, 110),
    format(22, "IQ2_S", 256, 82),
    format(23, "IQ4_XS", 256, 136),
    format(24, "I8", 1, 1),
    format(25, "I16", 1, 2),
    format(26, "I32", 1, 4),
    format(27, "I64", 1, 8),
    format(28, "F64", 1, 8),
    format(29, "IQ1_M", 256, 56),
    format(30, "BF16", 1, 2),
    format(31, "Q4_0_4_4", 32, 18),
    format(32, "Q4_0_4_8", 32, 18),
    format(33, "Q4_0_8_8", 32, 18),
    format(34, "TQ1_0", 256, 54),
    format(35, "TQ2_0", 256, 66),
    format(39, "MXFP4", 32, 17),
    format(40, "NVFP4", 64, 36),
    format(41, "Q1_0", 128, 18),
];

/// The format of a number.
pub(super) fn find(id: u32) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits per weight as published.
    #[test]
    fn blocks_have_the_published_widths() {
        let published = [
            ("Q8_0", 8.5),
            ("Q6_K", 6.5625),
            ("Q5_K", 5.5),
            ("Q5_1", 6.0),
            ("Q5_0", 5.5),
            ("Q4_K", 4.5),
            ("Q4_1", 5.0),
            ("Q4_0", 4.5),
            ("Q3_K", 3.4375),
            ("Q2_K", 2.625),
            ("IQ4_NL", 4.5),
            ("IQ4_XS", 4.25),
            ("IQ3_S", 3.4375),
            ("IQ3_XXS", 3.0625),
            ("IQ2_S", 2.5625),
            ("IQ2_XS", 2.3125),
            ("IQ2_XXS", 2.0625),
            ("IQ1_M", 1.75),
            ("IQ1_S", 1.5625),
            ("TQ2_0", 2.0625),
            ("TQ1_0", 1.6875),
            ("MXFP4", 4.25),
            ("NVFP4", 4.5),
            ("Q1_0", 1.125),
        ];
        for (name, bits) in published {
            let format = FORMATS.iter().find(|format| format.name == name).unwrap();
            let found = format.bytes as f64 * 8.0 / format.block as f64;
            assert!((found - bits).abs() < 1e-9, "{name}: {found} instead of {bits}");
        }
        assert_eq!((find(4), find(38), find(42)), (None, None, None));
    }
}
