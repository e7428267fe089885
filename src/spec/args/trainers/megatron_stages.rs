//! How Megatron's layers are spread over pipeline stages.

use crate::spec::args::table::Reader;

/// Longest layout after its repetitions.
const MAX_LAYOUT: usize = 20_000;
const MAX_DEPTH: usize = 4;

/// Layers of every stage, and model chunks on a rank.
pub(super) fn read(reader: &mut Reader<'_>) {
    let stages = reader.draft.out.parallelism.pipeline;
    if stages < 2 {
        return;
    }
    if let Some(layout) = reader.text("--pipeline-model-parallel-layout").map(str::to_owned) {
        match layers(&layout, stages) {
            Some((layers, chunks)) => {
                reader.put("training.stageLayers", layers);
                reader.put("training.virtualStages", chunks);
            }
            None => reader.at("--pipeline-model-parallel-layout", |reader| {
                reader.unknown("training.stageLayers", "the layout cannot be read");
            }),
        }
        return;
    }
    let Some(layers) = reader.number("--num-layers").or_else(|| reader.number("--decoder-num-layers")) else { return };
    if let Some(uneven) = uneven(reader, layers, stages) {
        reader.put("training.stageLayers", uneven);
    }
    if let Some(chunk) = reader.number("--num-layers-per-virtual-pipeline-stage").filter(|chunk| *chunk > 0) {
        reader.put("training.virtualStages", (layers / stages / chunk).max(1));
    }
}

/// Stages at the ends with a number of layers of their own, or with the embedding or the loss counted as one.
fn uneven(reader: &Reader<'_>, layers: u64, stages: u64) -> Option<Vec<u64>> {
    let (first, last) =
        (reader.number("--decoder-first-pipeline-num-layers"), reader.number("--decoder-last-pipeline-num-layers"));
    let (embedding, loss) = (
        u64::from(reader.on("--account-for-embedding-in-pipeline-split")),
        u64::from(reader.on("--account-for-loss-in-pipeline-split")),
    );
    let mut counts = vec![0; usize::try_from(stages).ok().filter(|stages| *stages <= MAX_LAYOUT)?];
    if first.or(last).is_some() {
        let ends = u64::from(first.is_some()) + u64::from(last.is_some());
        let inner = layers.checked_sub(first.unwrap_or(0))?.checked_sub(last.unwrap_or(0))?;
        counts.fill(inner.checked_div(stages.checked_sub(ends)?)?);
        if let (Some(slot), Some(first)) = (counts.first_mut(), first) {
            *slot = first;
        }
        if let (Some(slot), Some(last)) = (counts.last_mut(), last) {
            *slot = last;
        }
    } else if embedding + loss > 0 {
        let each = (layers + embedding + loss) / stages;
        counts.fill(each);
        *counts.first_mut()? = each.checked_sub(embedding)?;
        let last = counts.last_mut()?;
        *last = last.checked_sub(loss)?;
    } else {
        return None;
    }
    Some(counts)
}

/// Layers of each rank of a layout such as `Et*3|(tt|)*29,m|L`, and how many chunks each rank has.
fn layers(layout: &str, stages: u64) -> Option<(Vec<u64>, u64)> {
    let text: Vec<char> = layout.chars().filter(|c| !c.is_whitespace() && *c != ',' && *c != '"').collect();
    let mut at = 0;
    let expanded = expand(&text, &mut at, 0)?;
    let chunks: Vec<u64> = expanded.split('|').map(|stage| stage.matches('t').count() as u64).collect();
    let stages = usize::try_from(stages).ok().filter(|stages| *stages > 0)?;
    if !chunks.len().is_multiple_of(stages) {
        return None;
    }
    let mut layers = vec![0; stages];
    for (index, count) in chunks.iter().enumerate() {
        *layers.get_mut(index % stages)? += count;
    }
    Some((layers, (chunks.len() / stages) as u64))
}

/// Writes repetitions out: `x*3` and `(...)*3`.
fn expand(text: &[char], at: &mut usize, depth: usize) -> Option<String> {
    let mut out = String::new();
    while let Some(c) = text.get(*at) {
        *at += 1;
        let part = match c {
            '(' if depth < MAX_DEPTH => expand(text, at, depth + 1)?,
            ')' if depth > 0 => return Some(out),
            't' | 'E' | 'L' | 'm' | '|' => c.to_string(),
            _ => return None,
        };
        let mut times = 1;
        if text.get(*at) == Some(&'*') {
            *at += 1;
            let digits: String = text.iter().skip(*at).take_while(|c| c.is_ascii_digit()).collect();
            *at += digits.len();
            times = digits.parse().ok()?;
        }
        if part.len().checked_mul(times)? + out.len() > MAX_LAYOUT {
            return None;
        }
        out.push_str(&part.repeat(times));
    }
    (depth == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_count_the_layers_of_each_rank() {
        assert_eq!(layers("Et|tt|tt|tL", 4), Some((vec![1, 2, 2, 1], 1)));
        assert_eq!(layers("Et*3|(tt|)*29,m|L", 16), Some((vec![5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2], 2)));
        assert_eq!(layers("(tt|)*2tt", 3), Some((vec![2, 2, 2], 1)));
        for wrong in ["Et|x|tL", "(tt|", "t*99999999", "t*|", "tt|tt", "((((((t))))))"] {
            assert_eq!(layers(wrong, 3), None, "{wrong}");
        }
    }
}
