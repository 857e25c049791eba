//! Plots of a report, as one SVG with the panels that its mode has.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color as _, DrawingArea, FontDesc, IntoDrawingArea as _, IntoFont as _, IntoLogRange as _,
    LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, SeriesLabelPosition, Text, TextStyle, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Failure;
use crate::report::{Report, Series};

/// Width and height of a panel in pixels.
const PANEL: (u32, u32) = (640, 420);
const TITLE: u32 = 20;
const TEXT: u32 = 13;
/// Of the subjects, in their order; the palette of Okabe and Ito, which colour-blind people tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One panel.
#[derive(Clone, Debug, PartialEq)]
struct Panel {
    title: String,
    what: Drawn,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
enum Drawn {
    /// A bar for each: its name and value. Where they are far apart, the axis is logarithmic.
    Bars(Vec<(String, f64)>),
    /// A line for each: its name and points.
    Lines {
        /// Of the axis below.
        below: &'static str,
        /// Names of places on the axis below; none: numbers, logarithmic.
        places: Vec<&'static str>,
        lines: Vec<(String, Vec<(f64, f64)>)>,
    },
}

/// Writes the panels of `report` to `file`.
///
/// # Errors
/// If it has none, or the file cannot be written.
pub fn write(report: &Report, file: &Path) -> Result<(), Failure> {
    let panels = panels(report);
    if panels.is_empty() {
        return Err(format!("there is nothing to draw of --mode {}", report.mode).into());
    }
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(columns);
    let size = (PANEL.0 * u32::try_from(columns)?, PANEL.1 * u32::try_from(rows)?);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(&panels) {
            match &panel.what {
                Drawn::Bars(bars) => draw_bars(area, &panel.title, bars)?,
                Drawn::Lines { below, places, lines } => draw_lines(area, &panel.title, below, places, lines)?,
            }
        }
        root.present()?;
    }
    std::fs::write(file, svg).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn panels(report: &Report) -> Vec<Panel> {
    let panels = match report.mode {
        "load" => of_load(report),
        "latency" => of_latency(report),
        "activate" if report.columns.iter().any(|column| column.key == "known_p50_ms") => vec![
            bars(report, "known_p50_ms", "first stanza of a pair of known domains, ms (p50)"),
            bars(report, "new_p50_ms", "first stanza of a pair of new domains, ms (p50)"),
        ],
        "activate" => vec![
            bars(report, "fresh_pairs_per_second", "fresh pairs per second"),
            bars(report, "cpu_milliseconds_per_pair", "CPU of a fresh pair, both ends, ms"),
        ],
        "memory" => vec![against_pairs(report, "dialling_bytes_per_pair", "bytes of an idle pair, of who dials")],
        "resume" => vec![against_pairs(report, "seconds", "seconds until all pairs are active again")],
        "idle" => vec![bars(report, "dialling_cpu_percent", "% of a core, of who dials")],
        _ => vec![bars(report, "seconds_to_ready", "seconds to ready")],
    };
    panels.into_iter().flatten().collect()
}

fn of_load(report: &Report) -> Vec<Option<Panel>> {
    vec![
        bars(report, "cpu_seconds_per_million", "CPU-seconds per million stanzas, both ends"),
        bars(report, "stanzas_per_second", "stanzas per second"),
        against_pairs(report, "cpu_seconds_per_million", "CPU-seconds per million stanzas, by number of pairs"),
        against_pairs(report, "stanzas_per_second", "stanzas per second, by number of pairs"),
    ]
}

fn of_latency(report: &Report) -> Vec<Option<Panel>> {
    let panel = |of: &str, title: &str| {
        let line = |series: &Series| {
            let keys = ["p50", "p90", "p99", "p999", "max"].map(|quantile| format!("{of}_{quantile}_ms"));
            let points = (0u32..).zip(&keys).map(|(at, key)| (f64::from(at), report.figure(series, key)));
            (label(report, series), points.filter(|(_, value)| *value > 0.0).collect::<Vec<_>>())
        };
        let lines: Vec<_> = report.series.iter().map(line).filter(|(_, points)| !points.is_empty()).collect();
        let places = vec!["p50", "p90", "p99", "p99.9", "max"];
        let what = Drawn::Lines { below: "", places, lines: lines.clone() };
        (!lines.is_empty()).then(|| Panel { title: title.to_owned(), what })
    };
    vec![panel("round_trip", "round trip, ms"), panel("one_way", "one way, ms")]
}

/// A bar for each series; where there are several numbers of pairs, only those of the fewest.
fn bars(report: &Report, key: &str, title: &str) -> Option<Panel> {
    let fewest = report.series.iter().map(|series| series.pairs).min()?;
    let several = report.series.iter().any(|series| series.pairs != fewest);
    let of = if several { format!(", {fewest} pair{}", if fewest == 1 { "" } else { "s" }) } else { String::new() };
    let bar = |series: &Series| (series.subject.clone(), report.figure(series, key));
    let bars = report.series.iter().filter(|series| series.pairs == fewest).map(bar);
    let bars: Vec<_> = bars.filter(|(_, value)| value.is_finite() && *value > 0.0).collect();
    (!bars.is_empty()).then(|| Panel { title: format!("{title}{of}"), what: Drawn::Bars(bars) })
}

/// A line for each subject, where there are several numbers of pairs.
fn against_pairs(report: &Report, key: &str, title: &str) -> Option<Panel> {
    let line = |subject: &str| {
        let of_subject = report.series.iter().filter(|series| series.subject == subject);
        let mut points: Vec<_> = of_subject.map(|series| (series.pairs as f64, report.figure(series, key))).collect();
        points.retain(|(_, value)| value.is_finite() && *value > 0.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        (subject.to_owned(), points)
    };
    let lines: Vec<_> = report.subjects().into_iter().map(line).filter(|(_, points)| points.len() > 1).collect();
    let what = Drawn::Lines { below: "pairs", places: Vec::new(), lines: lines.clone() };
    (!lines.is_empty()).then(|| Panel { title: title.to_owned(), what })
}

/// The subject, and its pairs where not all have the same.
fn label(report: &Report, series: &Series) -> String {
    let same = report.series.iter().all(|other| other.pairs == series.pairs);
    if same { series.subject.clone() } else { format!("{}, {} pairs", series.subject, series.pairs) }
}

fn draw_bars(area: &Area<'_>, title: &str, bars: &[(String, f64)]) -> Result<(), Failure> {
    let (low, high) = bounds(bars.iter().map(|(_, value)| *value));
    let low = if high / low > 20.0 { low / 3.0 } else { 0.0 };
    // The height of a value, from 0 to 1: logarithmic where the smallest would not be seen.
    let height = |value: f64| if low > 0.0 { (value / low).ln() / (high * 1.5 / low).ln() } else { value / high / 1.1 };
    let title = if low > 0.0 { format!("{title}, logarithmic") } else { title.to_owned() };
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(TITLE))
        .margin(15)
        .x_label_area_size(35)
        .build_cartesian_2d(0.0..bars.len() as f64, 0.0..1.0)?;
    chart.configure_mesh().disable_mesh().disable_axes().draw()?;
    for (at, (name, value)) in bars.iter().enumerate() {
        let (left, top) = (at as f64, height(*value));
        let colour = COLOURS[at % COLOURS.len()].filled();
        chart.draw_series([Rectangle::new([(left + 0.15, 0.0), (left + 0.85, top)], colour)])?;
        let centred = |vertical| TextStyle::from(font(TEXT)).pos(Pos::new(HPos::Center, vertical));
        let above = (left + 0.5, top + 0.015);
        chart.draw_series([Text::new(number(*value), above, centred(VPos::Bottom))])?;
        let (x, y) = chart.backend_coord(&(left + 0.5, 0.0));
        let (base_x, base_y) = area.get_base_pixel();
        area.draw(&Text::new(name.clone(), (x - base_x, y - base_y + 8), centred(VPos::Top)))?;
    }
    Ok(())
}

fn draw_lines(
    area: &Area<'_>,
    title: &str,
    below: &str,
    places: &[&'static str],
    lines: &[(String, Vec<(f64, f64)>)],
) -> Result<(), Failure> {
    // Numbers stand at their decimal logarithm.
    let at = |x: f64| if places.is_empty() { x.log10() } else { x };
    let name = |x: &f64| match (x - x.round()).abs() < 0.01 {
        true if places.is_empty() => number(10f64.powf(x.round())),
        true => places.get(x.round() as usize).copied().unwrap_or("").to_owned(),
        false => String::new(),
    };
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (first, last) = bounds(points().map(|(x, _)| at(*x)));
    let (low, high) = bounds(points().map(|(_, value)| *value));
    // On the right, beside the lines, is the legend.
    let right = last + 0.1 + (last - first).max(0.5) * 0.4;
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(TITLE))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(first - 0.1..right, (low / 2.0..high * 2.0).log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(WHITE)
        .label_style(font(TEXT))
        .x_desc(below)
        .x_labels(10)
        .x_label_formatter(&name);
    mesh.y_label_formatter(&|value| number(*value)).draw()?;
    for (place, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let points: Vec<_> = points.iter().map(|(x, value)| (at(*x), *value)).collect();
        let line = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
        chart.draw_series(line)?.label(name.clone()).legend(legend);
    }
    let labels = &mut chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).label_font(font(TEXT)).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

fn font(size: u32) -> FontDesc<'static> {
    ("sans-serif", size).into_font()
}

/// The smallest and the largest.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// In three digits, with a letter for thousands and millions.
fn number(value: f64) -> String {
    let (value, letter) = match value {
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::{Column, Compare, Median};

    const COLUMNS: &[Column] = &[
        Column { key: "cpu_seconds_per_million", title: "", digits: 2, compare: Compare::Ratio },
        Column { key: "stanzas_per_second", title: "", digits: 0, compare: Compare::Ratio },
    ];

    fn report(pairs: &[usize]) -> Report {
        let mut report = Report { reference: "relay".into(), ..Report::new("load", json!({}), COLUMNS, Median::By(0)) };
        for pairs in pairs {
            report.add("relay", *pairs, vec![0.3, 4_600_000.0]);
            report.add("heteronym", *pairs, vec![1.5, 2_000_000.0]);
        }
        report
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.1234, 1.0, 1.5, 64.0, 100.0, 9999.0, 53_000.0, 4_600_000.0].map(number);
        assert_eq!(shown, ["0.123", "1", "1.5", "64", "100", "9999", "53 k", "4.6 M"]);
    }

    #[test]
    fn lines_need_several_numbers_of_pairs() {
        let panels = |pairs: &[usize]| panels(&report(pairs)).len();
        assert_eq!((panels(&[1]), panels(&[1, 64])), (2, 4));
        assert_eq!(panels(&[]), 0);
    }

    #[test]
    fn a_plot_has_its_subjects_and_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plot.svg");
        write(&report(&[1, 64]), &file).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        for text in ["<svg", "relay", "heteronym", "4.6 M", "by number of pairs"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(write(&report(&[]), &file).is_err());
    }
}
