//! Plots in one style: [`Chart`] draws lines over an axis or bars beside each other, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use plotters::{
    chart::SeriesLabelPosition,
    prelude::{
        BLACK, ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor,
        Rectangle, SVGBackend, Text, WHITE,
    },
    style::{IntoFont, TextStyle},
};

/// The size of a plot in pixels, and of its texts.
const SIZE: (u32, u32) = (960, 540);
const TITLE: u32 = 22;
const TEXT: u32 = 15;

/// Colours that are told apart by most eyes (Okabe and Ito, "Color Universal Design").
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(240, 228, 66),
];

/// A named line, or a named bar when it has one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is, for the legend.
    pub name: String,
    /// Its points in any order; each is (x, y).
    pub points: Vec<(f64, f64)>,
}

/// A plot to be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// What is seen.
    pub title: String,
    /// What the horizontal axis is, with its unit.
    pub x: String,
    /// What the vertical axis is, with its unit.
    pub y: String,
    /// The lines or bars.
    pub series: Vec<Series>,
    /// A value of the vertical axis that is aimed at, and what it is.
    pub goal: Option<(f64, String)>,
    /// Whether each step on the horizontal axis is a multiplication.
    pub logarithmic: bool,
}

impl Chart {
    /// Makes an empty plot.
    #[must_use]
    pub fn new(title: &str, x: &str, y: &str) -> Self {
        Self { title: title.to_owned(), x: x.to_owned(), y: y.to_owned(), ..Self::default() }
    }

    /// Adds a point to the line of that name, which is made if there is none.
    pub fn add(&mut self, name: &str, point: (f64, f64)) {
        if let Some(series) = self.series.iter_mut().find(|series| series.name == name) {
            series.points.push(point);
        } else {
            self.series.push(Series { name: name.to_owned(), points: vec![point] });
        }
    }

    /// Draws each series as a line with its points marked.
    ///
    /// # Errors
    /// When there is nothing to draw, or the file cannot be written.
    pub fn lines(&self, path: &Path) -> Result<()> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        ensure!(points().count() > 0, "{}: there is nothing to draw", self.title);
        let (least, most) = points().fold((f64::INFINITY, 0.0), |(least, most), (x, _)| (x.min(least), x.max(most)));
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(path, &error))?;
        let mut builder = ChartBuilder::on(&root);
        builder.caption(&self.title, ("sans-serif", TITLE)).margin(14).x_label_area_size(46).y_label_area_size(78);
        // The axes' types differ, so what follows is written for both.
        macro_rules! draw {
            ($range:expr) => {{
                let mut chart =
                    builder.build_cartesian_2d($range, 0.0..self.highest()).map_err(|error| failed(path, &error))?;
                let mut mesh = chart.configure_mesh();
                mesh.x_desc(self.x.as_str()).y_desc(self.y.as_str()).label_style(("sans-serif", TEXT));
                mesh.axis_desc_style(("sans-serif", TEXT)).light_line_style(RGBColor(244, 244, 244));
                mesh.x_label_formatter(&|value| number(*value)).y_label_formatter(&|value| number(*value));
                mesh.draw().map_err(|error| failed(path, &error))?;
                for (index, series) in self.series.iter().enumerate() {
                    let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or(BLACK);
                    let mut points = series.points.clone();
                    points.sort_by(|a, b| a.0.total_cmp(&b.0));
                    let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
                    let key =
                        move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 22, y)], colour.stroke_width(3));
                    let drawn = chart.draw_series(line).map_err(|error| failed(path, &error))?;
                    drawn.label(series.name.as_str()).legend(key);
                    let marks = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
                    chart.draw_series(marks).map_err(|error| failed(path, &error))?;
                }
                if let Some((value, name)) = &self.goal {
                    let line = PathElement::new(vec![(least, *value), (most, *value)], BLACK.mix(0.7));
                    let drawn = chart.draw_series([line]).map_err(|error| failed(path, &error))?;
                    let key = |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 22, y)], BLACK.mix(0.7));
                    drawn.label(name.as_str()).legend(key);
                }
                let mut labels = chart.configure_series_labels();
                labels.border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.85));
                labels.label_font(("sans-serif", TEXT)).position(SeriesLabelPosition::LowerRight);
                labels.draw().map_err(|error| failed(path, &error))?;
            }};
        }
        if self.logarithmic {
            draw!((least.max(f64::MIN_POSITIVE)..most.max(least * 2.0)).log_scale());
        } else {
            draw!(0.0..(most * 1.02).max(f64::MIN_POSITIVE));
        }
        root.present().map_err(|error| failed(path, &error))
    }

    /// Draws each series as a bar of its last point's height, from left to right, with name and value.
    ///
    /// # Errors
    /// When there is nothing to draw, or the file cannot be written.
    pub fn bars(&self, path: &Path) -> Result<()> {
        ensure!(!self.series.is_empty(), "{}: there is nothing to draw", self.title);
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(path, &error))?;
        let mut builder = ChartBuilder::on(&root);
        builder.caption(&self.title, ("sans-serif", TITLE)).margin(14).x_label_area_size(46).y_label_area_size(78);
        let width = self.series.len() as f64;
        let built = builder.build_cartesian_2d(0.0..width, 0.0..self.highest() * 1.06);
        let mut chart = built.map_err(|error| failed(path, &error))?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().x_labels(0).x_desc(self.x.as_str()).y_desc(self.y.as_str());
        mesh.label_style(("sans-serif", TEXT)).axis_desc_style(("sans-serif", TEXT));
        mesh.light_line_style(RGBColor(244, 244, 244)).y_label_formatter(&|value| number(*value));
        mesh.draw().map_err(|error| failed(path, &error))?;
        let font = TextStyle::from(("sans-serif", TEXT).into_font());
        for (index, series) in self.series.iter().enumerate() {
            let (left, value) = (index as f64, series.points.last().map_or(0.0, |point| point.1));
            let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or(BLACK);
            let bar = Rectangle::new([(left + 0.15, 0.0), (left + 0.85, value)], colour.filled());
            chart.draw_series([bar]).map_err(|error| failed(path, &error))?;
            let label = format!("{}: {}", series.name, number(value));
            let text = Text::new(label, (left + 0.15, value + self.highest() * 0.04), font.clone());
            chart.draw_series([text]).map_err(|error| failed(path, &error))?;
        }
        if let Some((value, _)) = &self.goal {
            let line = PathElement::new(vec![(0.0, *value), (width, *value)], BLACK.mix(0.7));
            chart.draw_series([line]).map_err(|error| failed(path, &error))?;
        }
        root.present().map_err(|error| failed(path, &error))
    }

    /// Returns the upper end of the vertical axis.
    fn highest(&self) -> f64 {
        let values = self.series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
        let highest = values.chain(self.goal.iter().map(|goal| goal.0)).fold(0.0, f64::max);
        if highest > 0.0 { highest * 1.08 } else { 1.0 }
    }
}

/// Writes a number as short as an axis wants it.
fn number(value: f64) -> String {
    let thousands = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match value.abs() {
        size if size >= 1e6 => thousands(value / 1e6, "M"),
        size if size >= 1e4 => thousands(value / 1e3, "k"),
        _ => thousands(value, ""),
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let mut chart = Chart::new("Throughput", "octets", "kpps");
        for (size, rate) in [(64.0, 400.0), (1518.0, 300.0), (512.0, 350.0)] {
            chart.add("sluice", (size, rate));
            chart.add("linux", (size, rate / 3.0));
        }
        chart.goal = Some((500.0, "goal".into()));
        chart
    }

    #[test]
    fn every_line_is_drawn_with_its_name_and_all_points() {
        let folder = crate::workspace::scratch("plot");
        for logarithmic in [false, true] {
            let path = folder.join(format!("{logarithmic}.svg"));
            Chart { logarithmic, ..chart() }.lines(&path).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.matches("<circle").count(), 6, "{text}");
            for word in ["Throughput", "octets", "kpps", "sluice", "linux", "goal"] {
                assert!(text.contains(word), "{word}");
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn bars_have_their_values() {
        let folder = crate::workspace::scratch("bars");
        let path = folder.join("bars.svg");
        chart().bars(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("sluice: 350") && text.contains("linux: 116.67"), "{text}");
        assert!(Chart::new("nothing", "", "").lines(&path).is_err());
        assert!(Chart::new("nothing", "", "").bars(&path).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.5, 64.0, 1518.0, 400_000.0, 1_250_000.0].map(number);
        assert_eq!(numbers, ["0", "0.5", "64", "1518", "400k", "1.25M"]);
    }
}
