//! What the CUDA runtime sees of a device, which is less than NVML and node labels say.
//!
//! Engines plan with `cudaMemGetInfo`'s total. The driver keeps the difference to the NVML total: about 0.4 GiB on a
//! small card and 0.9 GiB on the largest.

use crate::estimate::Bytes;

/// Totals that engines logged, GiB, by the NVML total of the same product, MiB.
///
/// Sources: vLLM start-up logs (H100 79.19, A10G 22.07, L4 22.03, RTX 3090 23.58, RTX 4090 23.53, RTX 5090 31.36,
/// T4 14.56, H200 139.8, B200 178.35, RTX PRO 6000 94.97, GB300 276.62), TensorRT-LLM (A40 44.35), PyTorch's
/// out-of-memory messages (A100 79.15).
const LOGGED: &[(&str, u64, f64)] = &[
    ("H100-80GB-HBM3", 81_559, 79.19),
    ("H100-PCIe", 81_559, 79.19),
    ("A100-SXM4-80GB", 81_920, 79.15),
    ("A100-80GB-PCIe", 81_920, 79.15),
    ("A10G", 23_028, 22.07),
    ("A10", 23_028, 22.07),
    ("L4", 23_034, 22.03),
    ("A40", 46_068, 44.35),
    ("Tesla-T4", 15_360, 14.56),
    ("RTX-3090", 24_576, 23.58),
    ("RTX-4090", 24_564, 23.53),
    ("RTX-5090", 32_607, 31.36),
    ("RTX-PRO-6000", 97_887, 94.97),
    ("H200", 143_771, 139.8),
    ("B200", 183_359, 178.35),
    ("GB300", 284_208, 276.62),
];

/// The driver's share where no log is known: fitted to the table above, worst error 0.2 GiB but for the A100.
const RESERVED_GIB: f64 = 0.41;
const RESERVED_SHARE: f64 = 0.0018;

/// The total that the runtime sees on an NVIDIA device whose NVML total (`nvidia.com/gpu.memory`) is `nvml`.
#[must_use]
pub fn visible(product: &str, nvml: Bytes) -> Bytes {
    let plain = product.strip_prefix("NVIDIA-").unwrap_or(product);
    let logged = LOGGED.iter().find(|(name, mib, _)| plain.contains(name) && Bytes::from_mib(*mib) == nvml);
    match logged {
        Some((_, _, gib)) => Bytes::from_gib(*gib),
        None => nvml - Bytes::from_gib(RESERVED_GIB) - nvml.scale(RESERVED_SHARE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Least squares through what each product loses.
    #[test]
    fn the_rule_is_the_line_through_the_table() {
        let rows = LOGGED.iter().filter(|(name, _, _)| !name.contains("A100"));
        let points: Vec<(f64, f64)> =
            rows.map(|(_, mib, gib)| (*mib as f64 / 1024.0, *mib as f64 / 1024.0 - gib)).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
        let (size, loss) = (mean(|p| p.0), mean(|p| p.1));
        let (up, along): (f64, f64) = points
            .iter()
            .fold((0.0, 0.0), |(up, along), (x, y)| (up + (x - size) * (y - loss), along + (x - size) * (x - size)));
        let share = up / along;
        assert!((share - RESERVED_SHARE).abs() < 0.0002, "{share}");
        assert!((loss - share * size - RESERVED_GIB).abs() < 0.02, "{}", loss - share * size);
    }

    #[test]
    fn logged_products_are_exact_and_others_follow_the_rule() {
        assert_eq!(format!("{:.2}", visible("NVIDIA-H100-80GB-HBM3", Bytes::from_mib(81_559))), "79.19 GiB");
        assert_eq!(format!("{:.2}", visible("NVIDIA-A10", Bytes::from_mib(23_028))), "22.07 GiB");
        // A board with ECC off reports another total: the rule applies.
        assert_eq!(format!("{:.2}", visible("NVIDIA-A10", Bytes::from_mib(24_564))), "23.54 GiB");
        for (name, mib, gib) in LOGGED.iter().filter(|(name, _, _)| !name.contains("A100")) {
            let nvml = Bytes::from_mib(*mib);
            let rule = nvml - Bytes::from_gib(RESERVED_GIB) - nvml.scale(RESERVED_SHARE);
            assert!((rule.gib() - gib).abs() < 0.2, "{name}: {rule:.2} against {gib}");
        }
    }
}
