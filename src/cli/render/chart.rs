//! Line charts of bytes, as SVG text or a PNG file.
//!
//! The font is embedded, so that a chart looks the same on every machine; SVG names a generic family instead.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use crate::estimate::{Bytes, Interval};

/// Width and height in pixels.
pub(super) const SIZE: (u32, u32) = (1120, 680);
pub(super) const FONT: &str = "sans-serif";
static ROBOTO: &[u8] = include_bytes!("fonts/Roboto-Latin.ttf");

pub(super) const INK: RGBColor = RGBColor(33, 37, 41);
pub(super) const SOFT: RGBColor = RGBColor(108, 117, 125);
pub(super) const GRID: RGBColor = RGBColor(233, 236, 239);
/// Told apart also by people who see fewer colours (Okabe and Ito's set, without yellow).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(73, 80, 87),
];
/// Length of dash and gap in pixels; the first pattern is a full line.
const DASHES: [Option<(i32, i32)>; 4] = [None, Some((10, 5)), Some((3, 4)), Some((14, 3))];

/// Lines with more points than this are smooth: their points are not marked.
const MOST_DOTS: usize = 20;
/// How much longer the horizontal axis is than the longest context.
const ROOM: f64 = 1.03;
/// Length of a piece of line in the legend.
const SAMPLE: i32 = 36;

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Lines of one colour belong together.
    pub color: usize,
    /// Lines of one dash pattern belong together.
    pub dash: usize,
    /// Tokens and bytes, in ascending order of tokens.
    pub points: Vec<(u64, Bytes)>,
}

/// A horizontal line.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What it stands for.
    pub name: String,
    /// Where it is.
    pub bytes: Bytes,
}

/// What lies between the bounds of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Colour of the line.
    pub color: usize,
    /// Tokens and bounds, in ascending order of tokens.
    pub points: Vec<(u64, Interval)>,
}

/// A point worth a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// Where, on the horizontal axis.
    pub at: u64,
    /// Where, on the vertical axis.
    pub bytes: Bytes,
    /// What is written there.
    pub label: String,
}

/// Bytes against tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Title.
    pub title: String,
    /// Second line of the title.
    pub subtitle: String,
    /// Name of the horizontal axis.
    pub x_axis: String,
    /// Name of the vertical axis, with its unit.
    pub y_axis: String,
    /// Distance of ticks on the horizontal axis, times a power of two.
    pub x_unit: f64,
    /// Lines.
    pub series: Vec<Series>,
    /// Bounds of lines.
    pub bands: Vec<Band>,
    /// Capacities.
    pub marks: Vec<Mark>,
    /// Labelled points.
    pub spots: Vec<Spot>,
}

/// The chart could not be drawn or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw the chart: {0}")]
pub struct ChartError(String);

type Plane<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;
/// What drawing on a backend can fail with.
pub type Failed<DB> = DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>;

/// A picture that can be drawn on any backend.
pub trait Drawing {
    /// Draws the whole picture.
    ///
    /// # Errors
    /// When the drawing library refuses.
    fn draw<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>) -> Result<(), Failed<DB>>;

    /// The picture as an SVG document.
    ///
    /// # Errors
    /// When the drawing library refuses.
    fn svg(&self) -> Result<String, ChartError> {
        font()?;
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area()).map_err(|error| told(&error))?;
        Ok(text)
    }

    /// Writes the picture as a PNG file.
    ///
    /// # Errors
    /// When the drawing library refuses or the file cannot be written.
    fn png(&self, path: &Path) -> Result<(), ChartError> {
        font()?;
        self.draw(&BitMapBackend::new(path, SIZE).into_drawing_area()).map_err(|error| told(&error))
    }
}

impl Drawing for Chart {
    fn draw<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>) -> Result<(), Failed<DB>> {
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title.clone(), (34, 22), (FONT, 25).into_font().color(&INK)))?;
        root.draw(&Text::new(self.subtitle.clone(), (34, 54), (FONT, 16).into_font().color(&SOFT)))?;
        let x = Axis::new(self.widest() as f64, ROOM, self.x_unit);
        let y = Axis::new(self.highest(), 1.08, 1.0);
        let mut plane = ChartBuilder::on(root)
            .margin_top(84)
            .margin_right(if self.marks.is_empty() { 36 } else { 170 })
            .margin_bottom(14)
            .margin_left(18)
            .x_label_area_size(56)
            .y_label_area_size(74)
            .build_cartesian_2d(x, y)?;
        self.mesh(&mut plane)?;
        self.shade(&mut plane)?;
        self.draw_marks(root, &plane)?;
        self.lines(&mut plane)?;
        self.values(&plane)?;
        self.label_spots(&plane)?;
        self.legend(root, plane.plotting_area().get_pixel_range())?;
        root.present()
    }
}

impl Chart {
    fn mesh<DB: DrawingBackend>(&self, plane: &mut Plane<'_, DB>) -> Result<(), Failed<DB>> {
        plane
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(SOFT)
            .x_labels(20)
            .y_labels(20)
            .x_desc(self.x_axis.as_str())
            .y_desc(self.y_axis.as_str())
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .draw()
    }

    /// Capacities: dashed lines with their names right of the plane, pushed apart where they are close.
    fn draw_marks<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        plane: &Plane<'_, DB>,
    ) -> Result<(), Failed<DB>> {
        const APART: i32 = 34;
        let style = (FONT, 14).into_font().color(&SOFT).pos(Pos::new(HPos::Left, VPos::Center));
        let mut marks: Vec<&Mark> = self.marks.iter().collect();
        marks.sort_by_key(|mark| mark.bytes);
        let mut lowest_free = i32::MAX;
        for mark in marks {
            let left = plane.backend_coord(&(0.0, mark.bytes.gib()));
            let right = plane.backend_coord(&(self.widest() as f64 * ROOM, mark.bytes.gib()));
            let mut from = left.0;
            while from < right.0 {
                let ends = [(from, left.1), ((from + 6).min(right.0), left.1)];
                root.draw(&PathElement::new(ends, SOFT.stroke_width(1)))?;
                from += 10;
            }
            let y = left.1.min(lowest_free);
            lowest_free = y - APART;
            root.draw(&Text::new(mark.name.clone(), (right.0 + 8, y - 8), style.clone()))?;
            root.draw(&Text::new(mark.bytes.to_string(), (right.0 + 8, y + 8), style.clone()))?;
        }
        Ok(())
    }

    fn shade<DB: DrawingBackend>(&self, plane: &mut Plane<'_, DB>) -> Result<(), Failed<DB>> {
        let end = self.highest() * 1.08;
        for band in &self.bands {
            let above = band.points.iter().map(|(x, bounds)| (*x as f64, bounds.high.gib().min(end)));
            let below = band.points.iter().rev().map(|(x, bounds)| (*x as f64, bounds.low.gib().min(end)));
            let around: Vec<(f64, f64)> = above.chain(below).collect();
            plane.draw_series(std::iter::once(Polygon::new(around, color(band.color).mix(0.15))))?;
        }
        Ok(())
    }

    fn label_spots<DB: DrawingBackend>(&self, plane: &Plane<'_, DB>) -> Result<(), Failed<DB>> {
        /// Labels nearer than this would overlap, pixels.
        const APART: (i32, i32) = (64, 24);
        let mut taken: Vec<(i32, i32)> = Vec::new();
        for spot in &self.spots {
            let point = (spot.at as f64, spot.bytes.gib());
            let pixel = plane.backend_coord(&point);
            plane.plotting_area().draw(&(EmptyElement::at(point) + Circle::new((0, 0), 5, INK.filled())))?;
            // Above the dot, below it where another label is near, nowhere where both are taken.
            let free = [(-18, VPos::Bottom, -9), (28, VPos::Top, 19)].into_iter().find(|(offset, _, _)| {
                let near =
                    |(x, y): &(i32, i32)| (x - pixel.0).abs() < APART.0 && (y - pixel.1 - offset).abs() < APART.1;
                !taken.iter().any(near)
            });
            let Some((offset, vertical, gap)) = free else { continue };
            taken.push((pixel.0, pixel.1 + offset));
            let style = (FONT, 15).into_font().color(&INK).pos(Pos::new(HPos::Center, vertical));
            let label = Text::new(spot.label.clone(), (0, gap), style);
            plane.plotting_area().draw(&(EmptyElement::at(point) + label))?;
        }
        Ok(())
    }

    fn lines<DB: DrawingBackend>(&self, plane: &mut Plane<'_, DB>) -> Result<(), Failed<DB>> {
        for series in &self.series {
            let color = color(series.color);
            let points: Vec<(f64, f64)> = series.points.iter().map(|(x, y)| (*x as f64, y.gib())).collect();
            let stroke = color.stroke_width(3);
            match dash(series.dash) {
                None => plane.draw_series(LineSeries::new(points.iter().copied(), stroke))?,
                Some((on, off)) => plane.draw_series(DashedLineSeries::new(points.iter().copied(), on, off, stroke))?,
            };
            if points.len() <= MOST_DOTS {
                plane.draw_series(points.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
            }
        }
        Ok(())
    }

    /// Values beside the points, where a single line leaves room for them.
    fn values<DB: DrawingBackend>(&self, plane: &Plane<'_, DB>) -> Result<(), Failed<DB>> {
        let [series] = self.series.as_slice() else { return Ok(()) };
        let style = (FONT, 15).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        for (tokens, bytes) in series.points.iter().filter(|_| series.points.len() <= MOST_DOTS) {
            let label = Text::new(format!("{:.1}", bytes.gib()), (7, 4), style.clone());
            plane.plotting_area().draw(&(EmptyElement::at((*tokens as f64, bytes.gib())) + label))?;
        }
        Ok(())
    }

    /// Names of the lines, in the upper left corner of the plane.
    fn legend<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        (xs, ys): (Range<i32>, Range<i32>),
    ) -> Result<(), Failed<DB>> {
        const ROW: i32 = 24;
        let style = (FONT, 16).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let mut widest = 0;
        for series in &self.series {
            widest = widest.max(root.estimate_text_size(&series.name, &style)?.0.cast_signed());
        }
        let (left, top) = (xs.start + 16, ys.start + 12);
        let rows = i32::try_from(self.series.len()).unwrap_or(i32::MAX / ROW - 2);
        let corners = [(left, top), (left + SAMPLE + widest + 34, top + rows * ROW + 10)];
        root.draw(&Rectangle::new(corners, WHITE.mix(0.92).filled()))?;
        root.draw(&Rectangle::new(corners, GRID.stroke_width(1)))?;
        for (series, row) in self.series.iter().zip(0..) {
            let y = top + 5 + ROW / 2 + row * ROW;
            sample(root, (left + 12, y), series)?;
            root.draw(&Text::new(series.name.clone(), (left + 22 + SAMPLE, y), style.clone()))?;
        }
        Ok(())
    }

    fn widest(&self) -> u64 {
        self.series.iter().flat_map(|series| &series.points).map(|point| point.0).max().unwrap_or(1).max(1)
    }

    fn highest(&self) -> f64 {
        let lines = self.series.iter().flat_map(|series| &series.points).map(|point| point.1);
        let highest = lines.chain(self.marks.iter().map(|mark| mark.bytes)).max().unwrap_or_default();
        let bounds = self.bands.iter().flat_map(|band| &band.points).map(|(_, bounds)| bounds.high).max();
        // A chart needs some height, and its axis some end; bounds may leave it.
        bounds.unwrap_or_default().min(highest.scale(1.25)).max(highest).gib().max(0.001)
    }
}

/// The piece of line in front of a legend entry: solid, or dashed like the line itself.
fn sample<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    at: (i32, i32),
    series: &Series,
) -> Result<(), Failed<DB>> {
    let (on, off) = dash(series.dash).unwrap_or((SAMPLE, 0));
    let mut from = 0;
    while from < SAMPLE {
        let ends = [(at.0 + from, at.1), (at.0 + (from + on).min(SAMPLE), at.1)];
        root.draw(&PathElement::new(ends, color(series.color).stroke_width(3)))?;
        from += (on + off).max(1);
    }
    Ok(())
}

/// The dash pattern of an index; `None` is a full line.
fn dash(index: usize) -> Option<(i32, i32)> {
    DASHES.get(index % DASHES.len()).copied().flatten()
}

/// An axis from zero with ticks at round numbers.
struct Axis {
    end: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// `room` is how much longer the axis is than the largest value.
    fn new(largest: f64, room: f64, unit: f64) -> Self {
        Self { end: largest * room, ticks: ticks(largest, unit) }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (value / self.end * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Only labelled lines: no finer mesh.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        0.0..self.end
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        number(*value)
    }
}

fn color(index: usize) -> RGBColor {
    PALETTE.get(index % PALETTE.len()).copied().unwrap_or(INK)
}

/// Round positions up to `end`: multiples of a power of two times `unit`, eight to sixteen of them where there is room.
pub(super) fn ticks(end: f64, unit: f64) -> Vec<f64> {
    let mut step = unit;
    while end / step > 10.0 {
        step *= 2.0;
    }
    while end / step < 4.0 {
        step /= 2.0;
    }
    // At most ten steps fit below `end` by the loops above, and one more above it.
    (0..=11).map(|n| f64::from(n) * step).filter(|tick| *tick <= end * 1.03).collect()
}

/// A tick label: no more decimals than it needs.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn font() -> Result<(), ChartError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| register_font(FONT, FontStyle::Normal, ROBOTO).is_ok());
    if *registered { Ok(()) } else { Err(ChartError("the embedded font cannot be read".to_owned())) }
}

fn told<E: std::error::Error + Send + Sync>(error: &DrawingAreaErrorKind<E>) -> ChartError {
    ChartError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::units::GIB;

    fn seed() -> Chart {
        let points = (9..=14).map(|power| (1u64 << power, Bytes((1u64 << power) * GIB / 512))).collect();
        Chart {
            title: "KV cache against context".to_owned(),
            subtitle: "batch 4".to_owned(),
            x_axis: "context, tokens".to_owned(),
            y_axis: "KV cache per GPU, GiB".to_owned(),
            series: vec![Series { name: "Llama-2-7b, fp16".to_owned(), color: 0, dash: 0, points }],
            marks: vec![Mark { name: "A10".to_owned(), bytes: Bytes::from_gib(22.5) }],
            x_unit: 2048.0,
            bands: Vec::new(),
            spots: Vec::new(),
        }
    }

    #[test]
    fn ticks_are_round_and_bounded() {
        assert_eq!(ticks(16384.0, 2048.0), [0.0, 2048.0, 4096.0, 6144.0, 8192.0, 10240.0, 12288.0, 14336.0, 16384.0]);
        assert_eq!(ticks(32.0, 1.0).last(), Some(&32.0));
        for end in [0.001, 0.7, 3.0, 1e5, 1.7e10] {
            let ticks = ticks(end, 1.0);
            assert!((4..=12).contains(&ticks.len()), "{end}: {ticks:?}");
        }
    }

    #[test]
    fn the_svg_names_axes_series_capacity_and_values() {
        let svg = seed().svg().unwrap();
        for text in [
            "KV cache against context",
            "context, tokens",
            "GiB",
            "Llama-2-7b, fp16",
            "A10",
            "22.5 GiB",
            "16384",
            "32.0",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_chart_without_points_is_still_a_chart() {
        let empty = Chart { series: Vec::new(), marks: Vec::new(), ..seed() };
        assert!(empty.svg().is_ok());
    }
}
