//! Line charts of bytes, as SVG text or a PNG file.
//!
//! The font is embedded, so that a chart looks the same on every machine; SVG names a generic family instead.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::coord::ranged1d::BindKeyPoints as _;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use crate::estimate::Bytes;

/// Width and height in pixels.
const SIZE: (u32, u32) = (1120, 680);
const FONT: &str = "sans-serif";
static ROBOTO: &[u8] = include_bytes!("fonts/Roboto-Latin.ttf");

const INK: RGBColor = RGBColor(33, 37, 41);
const SOFT: RGBColor = RGBColor(108, 117, 125);
const GRID: RGBColor = RGBColor(233, 236, 239);
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
    /// Lines.
    pub series: Vec<Series>,
    /// Capacities.
    pub marks: Vec<Mark>,
}

/// The chart could not be drawn or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw the chart: {0}")]
pub struct ChartError(String);

type Plane<'a, DB> = ChartContext<'a, DB, Cartesian2d<WithKeys, WithKeys>>;
type WithKeys = plotters::coord::combinators::WithKeyPoints<RangedCoordf64>;
type Failed<DB> = DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>;

impl Chart {
    /// The chart as an SVG document.
    ///
    /// # Errors
    /// When the drawing library refuses.
    pub fn svg(&self) -> Result<String, ChartError> {
        font()?;
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area()).map_err(told)?;
        Ok(text)
    }

    /// Writes the chart as a PNG file.
    ///
    /// # Errors
    /// When the drawing library refuses or the file cannot be written.
    pub fn png(&self, path: &Path) -> Result<(), ChartError> {
        font()?;
        self.draw(&BitMapBackend::new(path, SIZE).into_drawing_area()).map_err(told)
    }

    fn draw<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>) -> Result<(), Failed<DB>> {
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title.clone(), (34, 22), (FONT, 25).into_font().color(&INK)))?;
        root.draw(&Text::new(self.subtitle.clone(), (34, 54), (FONT, 16).into_font().color(&SOFT)))?;
        let (x_keys, y_keys) = (ticks(self.widest() as f64, 2048.0), ticks(self.highest(), 1.0));
        let x = (0.0..self.widest() as f64 * 1.03).with_key_points(x_keys);
        let y = (0.0..self.highest() * 1.08).with_key_points(y_keys);
        let mut plane = ChartBuilder::on(root)
            .margin_top(84)
            .margin_right(36)
            .margin_bottom(14)
            .margin_left(18)
            .x_label_area_size(56)
            .y_label_area_size(74)
            .build_cartesian_2d(x, y)?;
        self.mesh(&mut plane)?;
        self.draw_marks(&plane)?;
        self.lines(&mut plane)?;
        self.values(&plane)?;
        self.legend(root, plane.plotting_area().get_pixel_range())?;
        root.present()
    }

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
            .x_label_formatter(&|tokens| format!("{tokens:.0}"))
            .y_label_formatter(&|gib| number(*gib))
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .draw()
    }

    /// Capacities: dashed lines with their names at the right end.
    fn draw_marks<DB: DrawingBackend>(&self, plane: &Plane<'_, DB>) -> Result<(), Failed<DB>> {
        let right = self.widest() as f64 * 1.03;
        let style = (FONT, 14).into_font().color(&SOFT).pos(Pos::new(HPos::Right, VPos::Bottom));
        for mark in &self.marks {
            let y = mark.bytes.gib();
            let line = DashedLineSeries::new([(0.0, y), (right, y)], 6, 4, SOFT.stroke_width(1));
            for dash in line {
                plane.plotting_area().draw(&dash)?;
            }
            let name = format!("{}: {:.1} GiB", mark.name, y);
            plane.plotting_area().draw(&(EmptyElement::at((right, y)) + Text::new(name, (-6, -3), style.clone())))?;
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
                Some((on, off)) => {
                    plane.draw_series(DashedLineSeries::new(points.iter().copied(), on, off, stroke))?
                }
            };
            plane.draw_series(points.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
        }
        Ok(())
    }

    /// Values beside the points, where a single line leaves room for them.
    fn values<DB: DrawingBackend>(&self, plane: &Plane<'_, DB>) -> Result<(), Failed<DB>> {
        let [series] = self.series.as_slice() else { return Ok(()) };
        let style = (FONT, 15).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        for (tokens, bytes) in &series.points {
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
        // A chart needs some height, and its axis some end.
        highest.gib().max(0.001)
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

fn color(index: usize) -> RGBColor {
    PALETTE.get(index % PALETTE.len()).copied().unwrap_or(INK)
}

/// Round positions up to `end`: multiples of a power of two times `unit`, eight to sixteen of them where there is room.
fn ticks(end: f64, unit: f64) -> Vec<f64> {
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
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn font() -> Result<(), ChartError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| register_font(FONT, FontStyle::Normal, ROBOTO).is_ok());
    if *registered { Ok(()) } else { Err(ChartError("the embedded font cannot be read".to_owned())) }
}

fn told<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> ChartError {
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
        for text in ["KV cache against context", "context, tokens", "GiB", "Llama-2-7b, fp16", "A10: 22.5 GiB", "16384", "32.0"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_chart_without_points_is_still_a_chart() {
        let empty = Chart { series: Vec::new(), marks: Vec::new(), ..seed() };
        assert!(empty.svg().is_ok());
    }
}
