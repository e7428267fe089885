//! Logits and cross-entropy at their peak, between the forward and the backward pass.

use crate::estimate::workload::Loss;

/// Bytes for one logit when all of them exist at once: kept fp32 log-probabilities, their gradient and the fp32 copy
/// that is being differentiated (4 + 4 + 4).
const WHOLE: f64 = 12.0;
/// The same in a vocabulary-parallel loss that works in place: fp32 probabilities that become the gradient, and its
/// 16-bit copy.
const IN_PLACE: f64 = 6.0;
/// Extra copies of soft-capped logits: the scaled logits and their tanh, both kept.
const SOFTCAP: f64 = 6.0;
/// What transformers before 4.46 holds besides: a contiguous shifted copy and the fp32 output.
const SHIFTED: f64 = 6.0;
/// A 16-bit copy: the logits that a caller holds, or their gradient where it is not fused with its fp32 form.
const HALF: f64 = 2.0;
/// One more fp32 copy, of a loss over tensor-parallel shards that is not in place.
const COPY: f64 = 4.0;
/// Chunks of a chunked loss.
const CHUNKS: f64 = 8.0;
/// 16-bit logits of all chunks and their 16-bit gradients, which a chunked loss keeps; the rest exists for one chunk.
const CHUNKED_KEPT: f64 = 4.0;

/// What decides the loss's memory on one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a loss")]
pub struct CrossEntropy {
    /// How it is computed.
    pub loss: Loss,
    /// Tokens of a micro-batch on this rank.
    pub tokens: f64,
    /// Rows of the head on this rank.
    pub vocabulary: f64,
    /// Width of the residual stream.
    pub hidden: f64,
    /// Logits are soft-capped.
    pub softcap: bool,
    /// The caller holds the 16-bit logits.
    pub held: bool,
    /// Kernels run one by one, so that the 16-bit gradient is a further copy.
    pub eager: bool,
    /// Logits are divided over tensor-parallel ranks.
    pub sharded: bool,
    /// Old versions of transformers hold the fp32 logits and a shifted copy besides.
    pub shifted_copy: bool,
    /// The loss is divided over tensor-parallel ranks and works in place.
    pub in_place: bool,
    /// Chunks recompute their logits, so that only one chunk ever exists.
    pub recomputed_chunks: bool,
    /// The head is trained: a fused loss makes its gradient at once, in elements of this many bytes.
    pub head_gradient: Option<f64>,
}

impl CrossEntropy {
    /// Bytes for one logit when all exist.
    #[must_use]
    pub fn bytes_per_logit(&self) -> f64 {
        let base = if self.in_place { IN_PLACE } else { WHOLE };
        let copy = match (self.held, self.sharded) {
            _ if self.in_place => 0.0,
            (true, _) if self.eager => 2.0 * HALF,
            (true, _) => HALF,
            (false, true) => COPY,
            (false, false) => 0.0,
        };
        let shifted = if self.shifted_copy && !self.in_place { SHIFTED } else { 0.0 };
        base + copy + shifted + if self.softcap { SOFTCAP } else { 0.0 }
    }

    /// Bytes at the peak.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        let logits = self.tokens * self.vocabulary;
        match self.loss {
            Loss::Default => logits * self.bytes_per_logit(),
            Loss::Chunked if self.recomputed_chunks => logits * self.bytes_per_logit() / CHUNKS,
            Loss::Chunked => logits * (CHUNKED_KEPT + self.bytes_per_logit() / CHUNKS),
            Loss::Fused => self.fused().min(logits * self.bytes_per_logit()),
        }
    }

    /// The cheaper of a chunked and a fused loss, for one that was not declared.
    #[must_use]
    pub fn cheapest(self) -> Self {
        let chunked = Self { loss: Loss::Chunked, recomputed_chunks: true, ..self };
        let fused = Self { loss: Loss::Fused, ..self };
        if fused.bytes() < chunked.bytes() { fused } else { chunked }
    }

    /// One chunk of 16-bit logits with an fp32 copy, the gradient of the hidden states and of the head.
    fn fused(&self) -> f64 {
        // The chunk is chosen so that its logits are about as large as the hidden states.
        let chunk = (self.tokens * self.hidden / self.vocabulary.max(1.0)).clamp(1.0, self.tokens.max(1.0));
        let head = self.head_gradient.map_or(0.0, |width| self.vocabulary * self.hidden * width);
        (chunk * self.vocabulary).mul_add(6.0, self.tokens * self.hidden * 2.0) + head
    }

    /// The formula with its numbers.
    #[must_use]
    pub fn formula(&self) -> String {
        let (tokens, vocabulary) = (self.tokens, self.vocabulary);
        match self.loss {
            Loss::Default => format!("{tokens} tokens x {vocabulary} vocabulary x {} B", self.bytes_per_logit()),
            Loss::Chunked if self.recomputed_chunks => {
                let width = self.bytes_per_logit();
                format!("{tokens} tokens x {vocabulary} vocabulary x {width} B / {CHUNKS} chunks")
            }
            Loss::Chunked => format!(
                "{tokens} tokens x {vocabulary} vocabulary x ({CHUNKED_KEPT} B + {} B / {CHUNKS} chunks)",
                self.bytes_per_logit()
            ),
            Loss::Fused => format!("one chunk of {tokens} tokens x {vocabulary} vocabulary, fused, with gradients"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(loss: Loss) -> CrossEntropy {
        CrossEntropy {
            loss,
            tokens: 8192.0,
            vocabulary: 128_256.0,
            hidden: 4096.0,
            softcap: false,
            held: false,
            eager: true,
            sharded: false,
            shifted_copy: false,
            in_place: false,
            recomputed_chunks: false,
            head_gradient: Some(2.0),
        }
    }

    #[test]
    fn eight_thousand_tokens_of_a_large_vocabulary_take_twelve_gigabytes() {
        let bytes = loss(Loss::Default).bytes();
        assert!((bytes - 12.6e9).abs() < 0.1e9, "{bytes}");
    }

    #[test]
    fn chunking_saves_nearly_two_fp32_copies_and_fusing_nearly_everything() {
        // Measured: 7.3 GiB in torchtitan, 8.1 GiB in torchtune, at this shape.
        let saved = loss(Loss::Default).bytes() - loss(Loss::Chunked).bytes();
        assert!((6.0..8.2).contains(&(saved / f64::from(1 << 30))), "{saved}");
        assert!(loss(Loss::Fused).bytes() < loss(Loss::Chunked).bytes());
    }
}
