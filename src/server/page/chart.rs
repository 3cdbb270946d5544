//! Charts as SVG that follow the width of the page and its colours.
//!
//! plotters maps the values and draws the shapes into a box that the browser stretches to the width there is.
//! Words stay outside of that box, so that they are as large on a phone as on a desk. Every shape lies in a
//! group with a class, and the style sheet gives it its colour, in the light and in the dark: the black that
//! plotters writes is only a default. The alternatives: charts that a library draws with their words in them
//! shrink to nothing on a phone and have their colours fixed, and charming needs a JavaScript engine.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{BLACK, ChartBuilder, DrawingAreaErrorKind, IntoDrawingArea, PathElement, Polygon, SVGBackend};

/// The box in which plotters draws; its coordinates are whole numbers, so it is far finer than a screen.
const BOX: (u32, u32) = (8000, 2000);
/// Room above the plot, for half of the topmost label, and below it, for the times.
const ABOVE: f64 = 9.0;
const BELOW: f64 = 22.0;
/// Room for the numbers beside the plot, and for each letter where they are longer.
const AXIS: usize = 46;
const LETTER: usize = 7;

type Point = (f64, f64);

/// What a chart is called and says, for those who do not see it.
pub(super) struct Words<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
}

/// A chart that grows layer by layer, the hindmost first.
pub(super) struct Chart {
    x: Range<f64>,
    y: Range<f64>,
    height: u32,
    layers: Vec<(&'static str, String)>,
    x_labels: Vec<(f64, String)>,
    y_labels: Vec<(f64, String)>,
}

impl Chart {
    /// An empty chart of these values, `height` pixels high without its labels. The ranges must not be empty.
    pub(super) fn new(x: Range<f64>, y: Range<f64>, height: u32) -> Self {
        Self { x, y, height, layers: Vec::new(), x_labels: Vec::new(), y_labels: Vec::new() }
    }

    /// A line through these points.
    #[must_use]
    pub(super) fn line(self, class: &'static str, points: Vec<Point>) -> Self {
        self.layer(class, points, Shape::Line)
    }

    /// What these points enclose.
    #[must_use]
    pub(super) fn area(self, class: &'static str, points: Vec<Point>) -> Self {
        self.layer(class, points, Shape::Area)
    }

    /// Horizontal lines with their labels.
    #[must_use]
    pub(super) fn rows(mut self, at: impl IntoIterator<Item = (f64, String)>) -> Self {
        for (y, label) in at {
            let ends = vec![(self.x.start, y), (self.x.end, y)];
            self = self.line("grid", ends);
            self.y_labels.push((y, label));
        }
        self
    }

    /// Times below the plot.
    #[must_use]
    pub(super) fn times(mut self, at: impl IntoIterator<Item = (f64, String)>) -> Self {
        self.x_labels.extend(at);
        self
    }

    fn layer(mut self, class: &'static str, points: Vec<Point>, shape: Shape) -> Self {
        self.layers.push((class, geometry(&self.x, &self.y, points, shape)));
        self
    }

    /// The chart as a picture with a name.
    pub(super) fn draw(&self, words: &Words<'_>) -> Markup {
        let (title, description) = (format!("{}-title", words.id), format!("{}-text", words.id));
        let below = if self.x_labels.is_empty() { ABOVE } else { BELOW };
        let height = f64::from(self.height);
        let whole = ABOVE + height + below;
        let longest = self.y_labels.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
        html! {
            div.chart {
                svg role="img" aria-labelledby=(title) aria-describedby=(description) width="100%" height=(whole) {
                    title id=(title) { (words.title) }
                    desc id=(description) { (words.description) }
                    svg.plot y=(ABOVE) width="100%" height=(self.height)
                        viewBox={ "0 0 " (BOX.0) " " (BOX.1) } preserveAspectRatio="none" {
                        @for (class, shapes) in &self.layers {
                            g class=(class) { (PreEscaped(shapes)) }
                        }
                    }
                    @for (x, label) in &self.x_labels {
                        text x=(percent(share(&self.x, *x))) y=(ABOVE + height + 17.0) text-anchor="middle" { (label) }
                    }
                }
                // Beside the picture and not in it, so that the plot has all of its own width.
                svg.axis aria-hidden="true" width=(AXIS.max(LETTER * longest)) height=(whole) {
                    @for (y, label) in &self.y_labels {
                        text x="100%" y=(tenths(ABOVE + height * (1.0 - share(&self.y, *y)) + 4.0)) text-anchor="end" {
                            (label)
                        }
                    }
                }
            }
        }
    }
}

/// At most so many round numbers in this range.
pub(super) fn round_numbers(range: &Range<f64>, most: usize) -> Vec<f64> {
    RangedCoordf64::from(range.clone()).key_points(most)
}

/// A horizontal bar that is filled in part, with a mark.
pub(super) fn bar(description: &str, class: &str, filled: f64, mark: f64) -> Markup {
    let (filled, mark) = (percent(filled.clamp(0.0, 1.0)), percent(mark.clamp(0.0, 1.0)));
    html! {
        svg.bar role="img" aria-label=(description) width="100%" height="16" {
            rect.track y="4" width="100%" height="8" rx="2" {}
            rect class=(class) y="4" width=(filled) height="8" rx="2" {}
            rect.mark x=(mark) width="2" height="16" {}
        }
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Line,
    Area,
}

/// The shape as SVG elements; none where plotters refuses.
fn geometry(x: &Range<f64>, y: &Range<f64>, points: Vec<Point>, shape: Shape) -> String {
    let mut document = String::new();
    if let Err(error) = draw_into(&mut document, x, y, points, shape) {
        // Into a string nothing can fail; a page without one line is better than none.
        tracing::error!(target: "larder::server", %error, "a chart of the status page could not be drawn");
        return String::new();
    }
    let inside = document.split_once('>').map_or("", |(_, rest)| rest);
    inside.trim_end().trim_end_matches("</svg>").trim().to_owned()
}

fn draw_into(
    document: &mut String,
    x: &Range<f64>,
    y: &Range<f64>,
    points: Vec<Point>,
    shape: Shape,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let root = SVGBackend::with_string(document, BOX).into_drawing_area();
    let mut chart = ChartBuilder::on(&root).build_cartesian_2d(x.clone(), y.clone())?;
    match shape {
        Shape::Line => chart.draw_series(std::iter::once(PathElement::new(points, BLACK))).map(drop)?,
        Shape::Area => chart.draw_series(std::iter::once(Polygon::new(points, BLACK))).map(drop)?,
    }
    root.present()
}

fn share(range: &Range<f64>, value: f64) -> f64 {
    (value - range.start) / (range.end - range.start)
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn tenths(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_drawn_from_corner_to_corner_and_nothing_else_is_left_of_the_document() {
        let shapes = geometry(&(0.0..1.0), &(0.0..1.0), vec![(0.0, 0.0), (1.0, 1.0)], Shape::Line);
        assert!(shapes.starts_with("<polyline ") && shapes.ends_with("/>"), "{shapes}");
        assert!(shapes.contains("points=\"0,1999 7999,0 \""), "{shapes}");
    }

    #[test]
    fn labels_stand_beside_their_lines() {
        let chart = Chart::new(0.0..10.0, 0.0..100.0, 100).rows([(50.0, "half".to_owned())]);
        let svg = chart.draw(&Words { id: "c", title: "<b>", description: "d" }).into_string();
        assert!(svg.contains("y=\"63.0\" text-anchor=\"end\">half<"), "{svg}");
        assert!(svg.contains("<title id=\"c-title\">&lt;b&gt;</title>"), "{svg}");
    }

    #[test]
    fn a_bar_never_leaves_its_track() {
        let svg = bar("over", "fill", 7.0, -1.0).into_string();
        assert!(svg.contains("width=\"100.00%\"") && svg.contains("x=\"0.00%\""), "{svg}");
    }
}
