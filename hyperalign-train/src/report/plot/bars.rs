//! Groups of bars side by side.

use plotters::prelude::*;

use super::{
    Axis,
    chart::{INK, axes, color, legend, svg},
};

/// The bars of one name, one in each group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bars {
    /// Their name in the legend.
    pub name: String,
    /// Their heights; none where there is no bar.
    pub heights: Vec<Option<f64>>,
}

/// Bars from 0, for each of `groups` one of each of `bars`.
pub fn bars(y: &Axis, groups: &[String], bars: &[Bars]) -> String {
    let heights = || bars.iter().flat_map(|bars| &bars.heights).flatten().copied();
    let mut range = Axis::range(heights().chain([0.0]));
    // Bars stand on the axis, unless some are below it.
    if heights().all(|height| height >= 0.0) {
        range.start = 0.0;
    }
    let ranges = (-0.5..groups.len().max(1) as f64 - 0.5, range);
    let written = |place: &f64| {
        let is_middle = (place - place.round()).abs() < 1e-6 && *place > -0.5;
        let name = groups.get(place.round().max(0.0) as usize).filter(|_| is_middle);
        name.cloned().unwrap_or_default()
    };
    let width = 0.8 / bars.len().max(1) as f64;
    svg(|left, right| {
        let axis = Axis::new("");
        let mut chart = axes(left, ranges, (&axis, y), (groups.len().max(1), &written))?;
        for (k, of) in bars.iter().enumerate() {
            let heights = of.heights.iter().enumerate();
            let drawn = heights.filter_map(|(group, height)| {
                let start = group as f64 - 0.4 + k as f64 * width;
                let corners = [(start, 0.0), (start + 0.92 * width, (*height)?)];
                Some(Rectangle::new(corners, color(k).filled()))
            });
            chart.draw_series(drawn)?;
        }
        let ground = [(-0.5, 0.0), (groups.len() as f64 - 0.5, 0.0)];
        chart.draw_series([PathElement::new(ground.to_vec(), INK.mix(0.7))])?;
        let names: Vec<String> = bars.iter().map(|bars| bars.name.clone()).collect();
        legend(right, &names, |k, (left, middle)| {
            vec![Box::new(move |area| {
                let corners = [(left - 4, middle - 5), (left + 10, middle + 5)];
                Ok(area.draw(&Rectangle::new(corners, color(k).filled()))?)
            })]
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_names_below_them() {
        let groups = ["colors", "counting"].map(str::to_owned);
        let of = |name: &str, heights: [Option<f64>; 2]| Bars {
            name: name.to_owned(),
            heights: heights.to_vec(),
        };
        let drawn = bars(
            &Axis::new("gold"),
            &groups,
            &[of("base", [Some(0.2), Some(0.4)]), of("s", [Some(0.5), None])],
        );
        for part in ["colors", "counting", "base", "gold"] {
            assert!(drawn.contains(part), "{part}");
        }
        // Three bars and two signs of the legend.
        assert_eq!(drawn.matches("<rect").count(), 5);
    }
}
