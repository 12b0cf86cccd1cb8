//! Plots: lines with the middle half as brackets, and bars.

use anyhow::{Context as _, anyhow};
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    element::{Circle, PathElement, Rectangle},
    prelude::{Color as _, IntoDrawingArea as _, IntoFont as _, RGBColor, SVGBackend, ShapeStyle},
    series::LineSeries,
    style::{BLACK, WHITE},
};

use crate::{
    samples::Spread,
    words::{Language, number},
};

const SIZE: (u32, u32) = (760, 400);
const FONT: &str = "sans-serif";
/// Of Okabe and Ito, told apart by those who do not see all colours.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// A row of places on a figure, with what was measured at each.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) points: Vec<(f64, Spread)>,
}

/// What stands at the axes.
pub(super) struct Axes<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) language: Language,
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a figure cannot be drawn: {error}")
}

fn top(rows: &[Row]) -> f64 {
    let highest = rows.iter().flat_map(|row| &row.points).map(|(_, spread)| spread.upper).fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.1 } else { 1.0 }
}

/// Few places where numbers are great.
fn tick(value: f64, top: f64, language: Language) -> String {
    number(value, if top > 20.0 { 0 } else { 1 }, language)
}

/// A line for each row.
///
/// # Errors
/// If it cannot be drawn.
pub(super) fn lines(rows: &[Row], axes: &Axes<'_>) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let xs = rows.iter().flat_map(|row| &row.points).map(|(x, _)| *x);
        let (left, right) = xs.fold((f64::MAX, f64::MIN), |(left, right), x| (left.min(x), right.max(x)));
        let margin = ((right - left) * 0.03).max(0.1);
        let top = top(rows);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(74)
            .build_cartesian_2d(left - margin..right + margin, 0.0..top)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .axis_desc_style((FONT, 15).into_font())
            .label_style((FONT, 13).into_font())
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .x_label_formatter(&|x| tick(*x, 100.0, axes.language))
            .y_label_formatter(&|y| tick(*y, top, axes.language))
            .draw()
            .map_err(failed)?;
        for (row, colour) in rows.iter().zip(COLOURS) {
            let style = ShapeStyle::from(&colour).stroke_width(2);
            let medians = row.points.iter().map(|(x, spread)| (*x, spread.median));
            let drawn = chart.draw_series(LineSeries::new(medians.clone(), style)).map_err(failed)?;
            drawn
                .label(row.name.as_str())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], colour.filled()));
            chart.draw_series(medians.map(|point| Circle::new(point, 4, colour.filled()))).map_err(failed)?;
            let brackets =
                row.points.iter().map(|(x, spread)| PathElement::new([(*x, spread.lower), (*x, spread.upper)], style));
            chart.draw_series(brackets).map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 14).into_font())
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Groups of bars: a group for each place, with a bar for each row. Points have 0, 1, 2 and so on as x.
///
/// # Errors
/// If it cannot be drawn.
pub(super) fn bars(rows: &[Row], places: &[String], axes: &Axes<'_>) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let top = top(rows) * 1.15;
        let last = places.len().checked_sub(1).context("a figure has places")? as f64;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(74)
            .build_cartesian_2d(-0.5..last + 0.5, 0.0..top)
            .map_err(failed)?;
        let place = |x: &f64| {
            let at = x.round();
            let near = (x - at).abs() < 0.01 && at >= 0.0;
            near.then(|| places.get(at as usize).cloned()).flatten().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * places.len() + 1)
            .x_desc(axes.x)
            .y_desc(axes.y)
            .axis_desc_style((FONT, 15).into_font())
            .label_style((FONT, 13).into_font())
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .x_label_formatter(&place)
            .y_label_formatter(&|y| tick(*y, top, axes.language))
            .draw()
            .map_err(failed)?;
        let width = 0.8 / rows.len() as f64;
        for (number, (row, colour)) in rows.iter().zip(COLOURS).enumerate() {
            let left = |x: f64| width.mul_add(number as f64, x - 0.4);
            let bar = |(x, spread): &(f64, Spread)| {
                let inner = width * 0.06;
                Rectangle::new([(left(*x) + inner, 0.0), (left(*x) + width - inner, spread.median)], colour.filled())
            };
            let drawn = chart.draw_series(row.points.iter().map(bar)).map_err(failed)?;
            drawn
                .label(row.name.as_str())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], colour.filled()));
            let dark = ShapeStyle::from(&BLACK).stroke_width(1);
            let bracket = |(x, spread): &(f64, Spread)| {
                let middle = left(*x) + width / 2.0;
                PathElement::new([(middle, spread.lower), (middle, spread.upper)], dark)
            };
            chart.draw_series(row.points.iter().map(bracket)).map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 14).into_font())
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}
