//! Stacked bars of terms, each against the memory that there is.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::bar::term_name;
use super::chart::{Drawing, FONT, Failed, GRID, INK, SOFT, number, ticks};
use crate::decide::Verdict;
use crate::estimate::{Bytes, Interval, TermName};

/// Edges of the plane in pixels: left, top, right, bottom.
const LEFT: i32 = 78;
const TOP: i32 = 104;
const RIGHT: i32 = 880;
const BOTTOM: i32 = 586;
/// Where the legend begins.
const LEGEND: i32 = 908;
/// A bar takes this share of its slot, and no more pixels than that.
const SHARE: f64 = 0.46;
const WIDEST: f64 = 170.0;
/// A stack grows to this many times what is likely or usable; what may lie above is said in words.
const CLIP: f64 = 1.35;
/// Lowest segment that has room for its figure, pixels.
const ROOM: i32 = 17;
/// Slots below this width have short labels, pixels.
const NARROW: i32 = 190;

const GOOD: RGBColor = RGBColor(0, 122, 61);
const CAUTION: RGBColor = RGBColor(176, 104, 0);
const BAD: RGBColor = RGBColor(190, 30, 45);

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// Addends.
    pub terms: Vec<(TermName, Bytes)>,
    /// The sum with its bounds.
    pub total: Interval,
    /// Memory that there is.
    pub usable: Option<Bytes>,
    /// What came of it.
    pub verdict: Option<Verdict>,
}

/// Bars side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Title.
    pub title: String,
    /// Second line of the title.
    pub subtitle: String,
    /// Bars from left to right.
    pub bars: Vec<Bar>,
}

/// A vertical scale from zero.
struct Scale {
    end: f64,
}

impl Scale {
    fn y(&self, bytes: Bytes) -> i32 {
        let share = (bytes.gib() / self.end).min(1.0);
        BOTTOM - (share * f64::from(BOTTOM - TOP)).round() as i32
    }
}

impl Drawing for Stack {
    fn draw<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>) -> Result<(), Failed<DB>> {
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title.clone(), (34, 22), (FONT, 25).into_font().color(&INK)))?;
        root.draw(&Text::new(self.subtitle.clone(), (34, 54), (FONT, 16).into_font().color(&SOFT)))?;
        let scale = self.scale();
        axis(root, &scale)?;
        let slot = (RIGHT - LEFT) / i32::try_from(self.bars.len().max(1)).unwrap_or(1);
        for (bar, position) in self.bars.iter().zip(0..) {
            bar.draw(root, &scale, (LEFT + position * slot, slot))?;
        }
        for (usable, first, bars) in self.capacities() {
            capacity(root, scale.y(usable), (LEFT + first * slot, bars * slot), usable)?;
        }
        self.legend(root)?;
        root.present()
    }
}

impl Stack {
    fn scale(&self) -> Scale {
        let highest = self.bars.iter().map(|bar| {
            let seen = bar.total.likely.max(bar.usable.unwrap_or_default()).gib();
            bar.total.high.gib().min(seen * CLIP).max(seen)
        });
        Scale { end: highest.fold(0.001, f64::max) * 1.06 }
    }

    /// Capacities with the first bar and the number of neighbours that share them.
    fn capacities(&self) -> Vec<(Bytes, i32, i32)> {
        let mut found: Vec<(Bytes, i32, i32)> = Vec::new();
        for (bar, position) in self.bars.iter().zip(0..) {
            let Some(usable) = bar.usable else { continue };
            match found.last_mut() {
                Some((same, first, bars)) if *same == usable && *first + *bars == position => *bars += 1,
                _ => found.push((usable, position, 1)),
            }
        }
        found
    }

    /// Terms that occur, from the top of a stack to its bottom, and what the strokes mean.
    fn legend<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>) -> Result<(), Failed<DB>> {
        const ROW: i32 = 25;
        let present = |term: &TermName| self.bars.iter().flat_map(|bar| &bar.terms).any(|(name, _)| name == term);
        let mut y = TOP + 12;
        for term in TermName::ALL.into_iter().rev().filter(present) {
            root.draw(&Rectangle::new([(LEGEND, y - 7), (LEGEND + 16, y + 7)], color(term).filled()))?;
            let only = match self.bars.as_slice() {
                [bar] => bar.terms.iter().find(|(name, _)| *name == term).map(|(_, bytes)| *bytes),
                _ => None,
            };
            let name = term_name(term).replace('_', " ");
            let text = only.map_or_else(|| name.clone(), |bytes| format!("{name}  {:.2}", bytes.gib()));
            root.draw(&Text::new(text, (LEGEND + 26, y + 2), side(15, &INK)))?;
            y += ROW;
        }
        y += 8;
        if self.bars.iter().any(|bar| bar.total.width() > Bytes::ZERO) {
            whisker(root, LEGEND + 8, (y - 9, y + 9), true)?;
            root.draw(&Text::new("low to high".to_owned(), (LEGEND + 26, y + 2), side(15, &INK)))?;
            y += ROW;
        }
        if self.bars.iter().any(|bar| bar.usable.is_some()) {
            dashed(root, y, (LEGEND - 2, LEGEND + 19))?;
            root.draw(&Text::new("usable on the GPU".to_owned(), (LEGEND + 26, y + 2), side(15, &INK)))?;
        }
        Ok(())
    }
}

impl Bar {
    fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        scale: &Scale,
        (start, slot): (i32, i32),
    ) -> Result<(), Failed<DB>> {
        let middle = start + slot / 2;
        let half = ((f64::from(slot) * SHARE).min(WIDEST) / 2.0) as i32;
        let mut sum = Bytes::ZERO;
        for term in TermName::ALL {
            for (_, bytes) in self.terms.iter().filter(|(name, _)| *name == term) {
                let below = scale.y(sum);
                sum += *bytes;
                let above = scale.y(sum);
                root.draw(&Rectangle::new([(middle - half, above), (middle + half, below)], color(term).filled()))?;
                root.draw(&PathElement::new([(middle - half, above), (middle + half, above)], WHITE.stroke_width(1)))?;
                if below - above >= ROOM {
                    let style = centred(14, if is_light(term) { &INK } else { &WHITE });
                    root.draw(&Text::new(
                        format!("{:.1}", bytes.gib()),
                        (middle, i32::midpoint(above, below) + 1),
                        style,
                    ))?;
                }
            }
        }
        self.bounds(root, scale, middle + half + 14)?;
        self.labels(root, middle, slot)
    }

    /// The interval of the sum right of the bar; an open end where it leaves the plane.
    fn bounds<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        scale: &Scale,
        x: i32,
    ) -> Result<(), Failed<DB>> {
        if self.total.width() == Bytes::ZERO {
            return Ok(());
        }
        let inside = self.total.high.gib() <= scale.end;
        whisker(root, x, (scale.y(self.total.high), scale.y(self.total.low)), inside)?;
        if !inside {
            let text = format!("to {:.0}", self.total.high.gib());
            root.draw(&Text::new(text, (x, TOP - 10), centred(13, &SOFT)))?;
        }
        Ok(())
    }

    fn labels<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        middle: i32,
        slot: i32,
    ) -> Result<(), Failed<DB>> {
        let narrow = slot < NARROW;
        let size = if narrow { 13 } else { 15 };
        let most = usize::try_from(slot / if narrow { 7 } else { 8 }).unwrap_or(8);
        let name = super::style::shorten(&self.name, most);
        root.draw(&Text::new(name, (middle, BOTTOM + 18), centred(size + 1, &INK)))?;
        let need = match self.usable {
            Some(usable) => format!("{:.1} of {:.1} GiB", self.total.likely.gib(), usable.gib()),
            None => format!("{:.1} GiB", self.total.likely.gib()),
        };
        root.draw(&Text::new(need, (middle, BOTTOM + 40), centred(size, &SOFT)))?;
        let Some(verdict) = self.verdict else { return Ok(()) };
        let tone = match verdict {
            Verdict::Fits => &GOOD,
            Verdict::Tight => &CAUTION,
            _ => &BAD,
        };
        root.draw(&Text::new(verdict.code().to_owned(), (middle, BOTTOM + 62), centred(size, tone)))
    }
}

fn axis<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>, scale: &Scale) -> Result<(), Failed<DB>> {
    let style = (FONT, 14).into_font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
    for tick in ticks(scale.end, 1.0).into_iter().filter(|tick| *tick <= scale.end) {
        let y = scale.y(Bytes::from_gib(tick));
        root.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], GRID.stroke_width(1)))?;
        root.draw(&Text::new(number(tick), (LEFT - 8, y + 2), style.clone()))?;
    }
    root.draw(&PathElement::new([(LEFT, BOTTOM), (RIGHT, BOTTOM)], SOFT.stroke_width(1)))?;
    root.draw(&Text::new("GiB per GPU".to_owned(), (34, TOP - 20), (FONT, 14).into_font().color(&SOFT)))
}

/// A vertical stroke with ends; without the upper one it goes on.
fn whisker<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    x: i32,
    (top, bottom): (i32, i32),
    closed: bool,
) -> Result<(), Failed<DB>> {
    let stroke = INK.stroke_width(2);
    root.draw(&PathElement::new([(x, top), (x, bottom)], stroke))?;
    root.draw(&PathElement::new([(x - 5, bottom), (x + 5, bottom)], stroke))?;
    if closed {
        return root.draw(&PathElement::new([(x - 5, top), (x + 5, top)], stroke));
    }
    root.draw(&PathElement::new([(x - 5, top + 8), (x, top), (x + 5, top + 8)], stroke))
}

/// The line of what is usable, with its figure at the left where there is room.
fn capacity<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    y: i32,
    (start, width): (i32, i32),
    usable: Bytes,
) -> Result<(), Failed<DB>> {
    let margin = 9;
    dashed(root, y, (start + margin, start + width - margin))?;
    if width < NARROW {
        return Ok(());
    }
    let style = (FONT, 14).into_font().color(&BAD).pos(Pos::new(HPos::Left, VPos::Bottom));
    root.draw(&Text::new(format!("{:.1}", usable.gib()), (start + margin, y - 3), style))
}

fn dashed<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>, y: i32, (from, to): (i32, i32)) -> Result<(), Failed<DB>> {
    let mut x = from;
    while x < to {
        root.draw(&PathElement::new([(x, y), ((x + 8).min(to), y)], BAD.stroke_width(2)))?;
        x += 13;
    }
    Ok(())
}

fn centred(size: i32, color: &RGBColor) -> TextStyle<'_> {
    (FONT, size).into_font().color(color).pos(Pos::new(HPos::Center, VPos::Center))
}

fn side(size: i32, color: &RGBColor) -> TextStyle<'_> {
    (FONT, size).into_font().color(color).pos(Pos::new(HPos::Left, VPos::Center))
}

/// A colour a term: one hue a family.
const fn color(term: TermName) -> RGBColor {
    match term {
        TermName::Weights => RGBColor(0, 114, 178),
        TermName::Adapters => RGBColor(86, 180, 233),
        TermName::KvCache => RGBColor(213, 94, 0),
        TermName::State => RGBColor(240, 160, 80),
        TermName::Optimizer => RGBColor(150, 75, 140),
        TermName::Gradients => RGBColor(204, 121, 167),
        TermName::Activations => RGBColor(0, 158, 115),
        TermName::Logits => RGBColor(110, 200, 165),
        TermName::Transient => RGBColor(230, 200, 60),
        TermName::Comm => RGBColor(73, 80, 87),
        TermName::Runtime => RGBColor(108, 117, 125),
        TermName::CudaGraphs => RGBColor(150, 157, 164),
        TermName::Fragmentation => RGBColor(200, 205, 210),
        TermName::Measured => RGBColor(60, 60, 60),
    }
}

const fn is_light(term: TermName) -> bool {
    matches!(
        term,
        TermName::Adapters
            | TermName::State
            | TermName::Logits
            | TermName::Transient
            | TermName::CudaGraphs
            | TermName::Fragmentation
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, usable: f64, high: f64) -> Bar {
        let gib = Bytes::from_gib;
        Bar {
            name: name.to_owned(),
            terms: vec![(TermName::Weights, gib(12.5)), (TermName::KvCache, gib(8.0)), (TermName::Runtime, gib(0.6))],
            total: Interval::new(gib(20.0), gib(21.1), gib(high)),
            usable: Some(gib(usable)),
            verdict: Some(Verdict::Tight),
        }
    }

    fn drawn(bars: Vec<Bar>) -> String {
        Stack { title: "Llama-2-7b".to_owned(), subtitle: "batch 4".to_owned(), bars }.svg().unwrap()
    }

    #[test]
    fn terms_capacity_and_verdict_are_named() {
        let svg = drawn(vec![bar("A10", 22.1, 27.0)]);
        for text in
            ["Llama-2-7b", "weights  12.50", "kv cache  8.00", "12.5", "21.1 of 22.1 GiB", "TIGHT", "low to high"]
        {
            assert!(svg.lines().any(|line| line.trim() == text), "no {text}: {svg}");
        }
    }

    #[test]
    fn an_interval_that_leaves_the_plane_says_how_far_it_goes() {
        assert!(drawn(vec![bar("A10", 22.1, 300.0)]).contains("to 300"));
        assert!(!drawn(vec![bar("A10", 22.1, 24.0)]).contains("to 24"));
    }

    #[test]
    fn no_bar_and_many_bars_are_charts_too() {
        assert!(drawn(Vec::new()).starts_with("<svg"));
        let many = drawn((0..9).map(|n| bar(&format!("GPU-{n}"), 20.0 + f64::from(n), 30.0)).collect());
        assert!(many.contains("GPU-8"));
    }
}
