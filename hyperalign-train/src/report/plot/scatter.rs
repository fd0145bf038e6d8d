//! Points with numbers, and the front that none of them is beyond.

use plotters::prelude::*;

use super::{
    Axis,
    chart::{INK, axes, color, legend, svg},
};

/// A point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// Its name in the legend.
    pub name: String,
    /// Points of a group share a colour.
    pub group: usize,
    /// What it costs: less is better.
    pub x: f64,
    /// What it brings: more is better.
    pub y: f64,
    /// The interval of what it brings, if there is one.
    pub interval: Option<[f64; 2]>,
}

/// The points that no other is at once left of and above, from left to right: places in `points`.
pub fn pareto_front(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&points[a], &points[b]);
        a.x.total_cmp(&b.x).then(b.y.total_cmp(&a.y))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|&k| {
        let is_better = points[k].y > best;
        best = best.max(points[k].y);
        is_better
    });
    order
}

/// The points with their intervals and numbers, and the front as a line.
pub fn scatter(x: &Axis, y: &Axis, points: &[Point]) -> String {
    let place = |point: &Point| (x.place(point.x), y.place(point.y));
    let heights = points.iter().flat_map(|p| p.interval.into_iter().flatten().chain([p.y]));
    let ranges = (
        Axis::range(points.iter().map(|point| x.place(point.x))),
        Axis::range(heights.map(|height| y.place(height))),
    );
    let front: Vec<(f64, f64)> = pareto_front(points).iter().map(|&k| place(&points[k])).collect();
    svg(|left, right| {
        let span = ranges.0.end - ranges.0.start;
        let mut chart = axes(left, ranges, (x, y), (8, &|place| x.written(*place, span)))?;
        chart.draw_series(DashedLineSeries::new(front, 6, 4, INK.mix(0.6).stroke_width(1)))?;
        for (k, point) in points.iter().enumerate() {
            let (at, color) = (place(point), color(point.group));
            if let Some(ends) = point.interval {
                let ends = ends.map(|end| (at.0, y.place(end)));
                let bar = PathElement::new(ends.to_vec(), color.mix(0.6).stroke_width(1));
                chart.draw_series([bar])?;
            }
            chart.draw_series([Circle::new(at, 4, color.filled())])?;
            let text = ("sans-serif", 12).into_font().color(&INK);
            let number = EmptyElement::at(at) + Text::new((k + 1).to_string(), (6, -14), text);
            chart.draw_series([number])?;
        }
        let names: Vec<String> =
            points.iter().enumerate().map(|(k, p)| format!("{} {}", k + 1, p.name)).collect();
        legend(right, &names, |k, (left, middle)| {
            let color = color(points[k].group);
            vec![Box::new(move |area| {
                Ok(area.draw(&Circle::new((left + 4, middle), 4, color.filled()))?)
            })]
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Point {
        Point { name: format!("{x}"), x, y, interval: Some([y - 0.1, y + 0.1]), ..Point::default() }
    }

    #[test]
    fn the_front_has_what_nothing_beats() {
        let points =
            [point(3.0, 0.9), point(1.0, 0.2), point(2.0, 0.1), point(2.0, 0.5), point(4.0, 0.9)];
        assert_eq!(pareto_front(&points), [1, 3, 0]);
        assert!(pareto_front(&[]).is_empty());
    }

    #[test]
    fn points_are_numbered() {
        let drawn = scatter(
            &Axis::logarithmic("seconds"),
            &Axis::new("gold"),
            &[point(0.1, 0.2), point(10.0, 0.4)],
        );
        assert!(drawn.contains("1 0.1") && drawn.contains("2 10") && drawn.contains("seconds"));
    }
}
