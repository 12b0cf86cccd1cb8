//! Plots as SVG: lines and bars, with the middle half of the values as brackets.

use std::ops::Range;

use anyhow::anyhow;
use plotters::{
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::DrawingArea,
    element::{Circle, PathElement, Rectangle},
    prelude::{Color as _, IntoDrawingArea as _, IntoFont as _, RGBColor, SVGBackend, ShapeStyle},
    series::LineSeries,
    style::{BLACK, WHITE},
};

use crate::{
    samples::Spread,
    words::{Language, number},
};

const SIZE: (u32, u32) = (760, 380);
const FONT: &str = "sans-serif";
/// The colours of Okabe and Ito, which the colour-blind can tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
/// The share of the axis between two xs that a group of bars takes.
const GROUP_WIDTH: f64 = 0.8;

/// A named series of points.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) points: Vec<(f64, Spread)>,
}

/// The labels of the axes.
pub(super) struct Axes<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) language: Language,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws a line for each row.
///
/// # Errors
/// If it cannot be drawn.
pub(super) fn lines(rows: &[Row], axes: &Axes<'_>) -> anyhow::Result<String> {
    let xs = rows.iter().flat_map(|row| &row.points).map(|(x, _)| *x);
    let (left, right) = xs.fold((f64::MAX, f64::MIN), |(left, right), x| (left.min(x), right.max(x)));
    let margin = ((right - left) * 0.03).max(0.1);
    let top = highest(rows) * 1.1;
    plot(|area| {
        let mut chart = chart(area, left - margin..right + margin, top)?;
        mesh(&mut chart, axes, top, 10, &|x| number(*x, 0, axes.language))?;
        for (number, row) in rows.iter().enumerate() {
            // Earlier ones are wider, so that one that lies below another is seen.
            let behind = u32::try_from(rows.len() - number - 1).unwrap_or(0);
            line(&mut chart, row, COLOURS[number % COLOURS.len()], behind)?;
        }
        legend(&mut chart, free_corner(rows, top))
    })
}

/// Chooses the left corner that the beginnings of the lines leave free.
fn free_corner(rows: &[Row], top: f64) -> SeriesLabelPosition {
    let begins = rows.iter().filter_map(|row| row.points.first()).map(|(_, spread)| spread.upper);
    if begins.fold(0.0, f64::max) < top / 2.0 { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::LowerLeft }
}

fn line(chart: &mut Chart<'_, '_>, row: &Row, colour: RGBColor, behind: u32) -> anyhow::Result<()> {
    let style = ShapeStyle::from(&colour).stroke_width(2 + behind);
    let medians = row.points.iter().map(|(x, spread)| (*x, spread.median));
    let drawn = chart.draw_series(LineSeries::new(medians.clone(), style)).map_err(failed)?;
    drawn.label(row.name.as_str()).legend(move |at| sample_of(at, colour));
    let dot = |point| Circle::new(point, 3 + behind, colour.filled());
    chart.draw_series(medians.map(dot)).map_err(failed)?;
    brackets(chart, row.points.iter().map(|(x, spread)| (*x, *spread)), colour)
}

/// Draws groups of bars: a group for each place, with a bar for each row. Points have 0, 1, 2 and so on as x.
///
/// # Errors
/// If it cannot be drawn.
pub(super) fn bars(rows: &[Row], places: &[String], axes: &Axes<'_>) -> anyhow::Result<String> {
    // Above several rows there is room for their names.
    let top = highest(rows) * if rows.len() > 1 { 1.3 } else { 1.1 };
    let place = |x: &f64| {
        let is_place = (x - x.round()).abs() < 0.01 && x.round() >= 0.0;
        is_place.then(|| places.get(x.round() as usize).cloned()).flatten().unwrap_or_default()
    };
    plot(|area| {
        let mut chart = chart(area, -0.5..places.len() as f64 - 0.5, top)?;
        mesh(&mut chart, axes, top, 2 * places.len() + 1, &place)?;
        let width = GROUP_WIDTH / rows.len() as f64;
        for (number, row) in rows.iter().enumerate() {
            let left = width.mul_add(number as f64, -GROUP_WIDTH / 2.0);
            bar_row(&mut chart, row, COLOURS[number % COLOURS.len()], left..left + width)?;
        }
        if rows.len() > 1 { legend(&mut chart, SeriesLabelPosition::UpperRight) } else { Ok(()) }
    })
}

/// Draws the bars of one row. `span`: the edges of a bar, relative to its place.
fn bar_row(chart: &mut Chart<'_, '_>, row: &Row, colour: RGBColor, span: Range<f64>) -> anyhow::Result<()> {
    let gap = (span.end - span.start) * 0.06;
    let bar = |(x, spread): &(f64, Spread)| {
        Rectangle::new([(x + span.start + gap, 0.0), (x + span.end - gap, spread.median)], colour.filled())
    };
    let drawn = chart.draw_series(row.points.iter().map(bar)).map_err(failed)?;
    drawn.label(row.name.as_str()).legend(move |at| sample_of(at, colour));
    let middle = f64::midpoint(span.start, span.end);
    brackets(chart, row.points.iter().map(|(x, spread)| (x + middle, *spread)), BLACK)
}

fn brackets(
    chart: &mut Chart<'_, '_>,
    points: impl Iterator<Item = (f64, Spread)>,
    colour: RGBColor,
) -> anyhow::Result<()> {
    let style = ShapeStyle::from(&colour).stroke_width(1);
    let bracket = points.map(|(x, spread)| PathElement::new([(x, spread.lower), (x, spread.upper)], style));
    chart.draw_series(bracket).map_err(failed).map(drop)
}

fn plot(draw: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(scaling(svg))
}

/// Removes the SVG's own size, so that it is as wide as its page.
fn scaling(svg: String) -> String {
    let (width, height) = SIZE;
    svg.replacen(&format!("width=\"{width}\" height=\"{height}\" "), "", 1)
}

fn chart<'a, 'b>(area: &'a Area<'b>, x: Range<f64>, top: f64) -> anyhow::Result<Chart<'a, 'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).x_label_area_size(44).y_label_area_size(74);
    builder.build_cartesian_2d(x, 0.0..top).map_err(failed)
}

fn mesh(
    chart: &mut Chart<'_, '_>,
    axes: &Axes<'_>,
    top: f64,
    x_labels: usize,
    x_words: &dyn Fn(&f64) -> String,
) -> anyhow::Result<()> {
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().x_labels(x_labels).y_labels(8).x_desc(axes.x).y_desc(axes.y);
    mesh.axis_desc_style((FONT, 15).into_font()).label_style((FONT, 13).into_font());
    mesh.light_line_style(WHITE).bold_line_style(BLACK.mix(0.1));
    mesh.x_label_formatter(&x_words).y_label_formatter(&|y| tick(*y, top, axes.language)).draw().map_err(failed)
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> anyhow::Result<()> {
    let mut labels = chart.configure_series_labels();
    labels.position(position).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2));
    labels.label_font((FONT, 14).into_font()).draw().map_err(failed)
}

fn sample_of((x, y): (i32, i32), colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 16, y + 5)], colour.filled())
}

fn highest(rows: &[Row]) -> f64 {
    let values = rows.iter().flat_map(|row| &row.points).map(|(_, spread)| spread.upper);
    let highest = values.fold(0.0, f64::max);
    if highest > 0.0 { highest } else { 1.0 }
}

/// Formats a tick label, with fewer decimals where numbers are great.
fn tick(value: f64, top: f64, language: Language) -> String {
    let places = if top > 8.0 { 0 } else { 1 };
    number(value, places, language)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a figure cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(points: &[(f64, f64)]) -> Row {
        let spread = |median: f64| Spread { median, lower: median / 2.0, upper: median * 2.0, count: 3 };
        let points = points.iter().map(|(x, median)| (*x, spread(*median))).collect();
        Row { name: "<multicast>".to_owned(), points }
    }

    #[test]
    fn what_is_drawn_has_its_words() {
        let axes = Axes { x: "penerima", y: "byte", language: Language::Id };
        let drawn = lines(&[row(&[(1.0, 10.0), (16.0, 2000.0)]), row(&[])], &axes).unwrap();
        assert!(drawn.contains("penerima") && drawn.contains("2.000"), "{drawn}");
        assert!(!drawn.contains("<multicast>"), "names are escaped");
        assert!(drawn.starts_with("<svg viewBox=\"0 0 760 380\""), "{}", &drawn[..80]);
        let places = ["mati".to_owned(), "aktif".to_owned()];
        let drawn = bars(&[row(&[(0.0, 1.0), (1.0, 0.0)])], &places, &axes).unwrap();
        assert!(drawn.contains("mati") && drawn.contains("aktif"), "{drawn}");
    }

    #[test]
    fn zeros_can_be_drawn() {
        let axes = Axes { x: "x", y: "y", language: Language::En };
        assert!(bars(&[row(&[(0.0, 0.0)])], &["one".to_owned()], &axes).is_ok());
        assert!(lines(&[row(&[(0.0, 0.0)])], &axes).is_ok());
    }
}
