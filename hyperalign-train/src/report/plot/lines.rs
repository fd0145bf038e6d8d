//! Lines through measured points.

use plotters::prelude::*;

use super::{
    Axis,
    chart::{INK, axes, color, legend, svg},
};

/// A line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

/// The lines, with a dashed upright line at each of `marks`.
pub fn lines(x: &Axis, y: &Axis, lines: &[Line], marks: &[f64]) -> String {
    let places: Vec<Vec<(f64, f64)>> = lines
        .iter()
        .map(|line| line.points.iter().map(|&(a, b)| (x.place(a), y.place(b))).collect())
        .collect();
    let all = || places.iter().flatten().copied();
    let ranges = (Axis::range(all().map(|p| p.0)), Axis::range(all().map(|p| p.1)));
    svg(|left, right| {
        let ends = ranges.1.clone();
        let span = ranges.0.end - ranges.0.start;
        let mut chart = axes(left, ranges, (x, y), (8, &|place| x.written(*place, span)))?;
        for mark in marks {
            let at = x.place(*mark);
            let points = [(at, ends.start), (at, ends.end)].into_iter();
            chart.draw_series(DashedLineSeries::new(points, 4, 4, INK.mix(0.6).stroke_width(1)))?;
        }
        for (k, points) in places.iter().enumerate() {
            chart.draw_series(LineSeries::new(points.iter().copied(), color(k).stroke_width(2)))?;
            chart.draw_series(points.iter().map(|&at| Circle::new(at, 3, color(k).filled())))?;
            // Where a line begins, so that its direction can be seen.
            let first = points.first().map(|&at| Circle::new(at, 6, color(k).stroke_width(2)));
            chart.draw_series(first)?;
        }
        let names: Vec<String> = lines.iter().map(|line| line.name.clone()).collect();
        legend(right, &names, |k, (left, middle)| {
            vec![Box::new(move |area| {
                let line = vec![(left - 8, middle), (left + 12, middle)];
                area.draw(&PathElement::new(line, color(k).stroke_width(2)))?;
                Ok(area.draw(&Circle::new((left + 2, middle), 3, color(k).filled()))?)
            })]
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_with_axes_and_names() {
        let line = |name: &str, points: &[(f64, f64)]| Line {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        let of = [line("one", &[(1.0, 0.1), (10.0, 0.4)]), line("<two>", &[(5.0, 0.3)])];
        let drawn = lines(&Axis::logarithmic("states"), &Axis::new("gold"), &of, &[2.0]);
        assert!(drawn.starts_with("<svg") && drawn.contains("viewBox"), "{}", &drawn[..200]);
        for part in ["states", "gold", "one", "&lt;two&gt;", "currentColor", "#4085DE"] {
            assert!(drawn.contains(part), "{part}");
        }
        assert!(!drawn.contains("#010203") && !drawn.contains("<two>"));
        // Nothing to draw is an empty drawing.
        assert!(lines(&Axis::new("x"), &Axis::new("y"), &[], &[]).contains("<svg"));
    }
}
