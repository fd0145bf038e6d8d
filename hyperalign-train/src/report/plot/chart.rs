//! What all drawings have in common: paper, ink, axes, a legend beside the drawing.

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

/// Size of a drawing, in pixels.
const SIZE: (u32, u32) = (820, 400);
/// Width of the legend.
const LEGEND: u32 = 250;
/// Letters that fit into it.
const LETTERS: usize = 30;
/// Stands for the colour of the text around the drawing.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
/// As it is written in the SVG.
const INK_WRITTEN: &str = "#010203";

/// Of the middle between light and dark, so that they read on both.
const COLORS: [RGBColor; 8] = [
    RGBColor(64, 133, 222),
    RGBColor(224, 122, 47),
    RGBColor(46, 160, 103),
    RGBColor(205, 82, 145),
    RGBColor(142, 112, 222),
    RGBColor(158, 146, 48),
    RGBColor(66, 168, 186),
    RGBColor(206, 84, 76),
];

/// The colour of the series `k`.
pub(super) fn color(k: usize) -> RGBColor {
    COLORS[k % COLORS.len()]
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Cartesian = plotters::coord::cartesian::Cartesian2d<RangedCoordf64, RangedCoordf64>;
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// How the values of an axis lie on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Scale {
    /// Equal ways are equal differences.
    #[default]
    Linear,
    /// Equal ways are equal factors.
    Logarithmic,
    /// Whole numbers.
    Whole,
}

/// An axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: String,
    scale: Scale,
}

impl Axis {
    /// An axis of equal differences.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear }
    }

    /// An axis of equal factors, for values above 0.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Logarithmic }
    }

    /// An axis of whole numbers, such as steps.
    pub fn whole(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Whole }
    }

    /// Where a value lies on it.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Linear | Scale::Whole => value,
        }
    }

    /// What stands beside a place of an axis that is `span` long, short but telling its neighbours
    /// apart.
    pub(super) fn written(&self, place: f64, span: f64) -> String {
        match self.scale {
            Scale::Logarithmic => {
                let value = 10f64.powf(place);
                number(value, value)
            }
            Scale::Linear => number(place, span / 10.0),
            Scale::Whole if (place - place.round()).abs() < 1e-6 => format!("{place:.0}"),
            Scale::Whole => String::new(),
        }
    }

    /// From the smallest to the largest of `places`, with some air.
    pub(super) fn range(places: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
        let finite = places.filter(|place| place.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| {
            (low.min(place), high.max(place))
        });
        if low > high {
            return 0.0..1.0;
        }
        let air = match high - low {
            // One value alone lies in the middle.
            0.0 => 0.5 * low.abs().max(0.1),
            span => 0.06 * span,
        };
        low - air..high + air
    }
}

/// A number, to the second digit of `size`.
fn number(value: f64, size: f64) -> String {
    let digits = match size.abs() {
        0.0 => 0,
        size => (1 - size.log10().floor() as i32).clamp(0, 9) as usize,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The SVG of what `draw` draws, on transparent paper, in the colour of the text around it.
pub(super) fn svg(draw: impl FnOnce(&Area, &Area) -> Drawn) -> String {
    let mut text = String::new();
    {
        let whole = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let (left, right) = whole.split_horizontally(SIZE.0 - LEGEND);
        draw(&left, &right).expect("a string takes every shape");
        whole.present().expect("a string takes every shape");
    }
    // A file of its own has no text around it.
    let style = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}\
                 @media print{svg{color:#000}}</style>";
    let sized = format!("width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    let text = text.replace(INK_WRITTEN, "currentColor").replacen(&sized, "", 1);
    match text.find('>') {
        Some(end) => format!("{}{style}{}", &text[..=end], &text[end + 1..]),
        None => text,
    }
}

/// The axes of a drawing in `area`. `x_label` and `y_label` say what stands beside a place.
pub(super) fn axes<'a, 'b>(
    area: &'b Area<'a>,
    (x, y): (std::ops::Range<f64>, std::ops::Range<f64>),
    (x_axis, y_axis): (&Axis, &Axis),
    (x_labels, x_written): (usize, &dyn Fn(&f64) -> String),
) -> Result<ChartContext<'b, SVGBackend<'a>, Cartesian>, Box<dyn std::error::Error>> {
    let span = y.end - y.start;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(4)
        .x_label_area_size(44)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    let text = ("sans-serif", 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc(&x_axis.label)
        .y_desc(&y_axis.label)
        .x_labels(x_labels)
        .y_labels(6)
        .label_style(text.clone())
        .axis_desc_style(text)
        .axis_style(INK.mix(0.7))
        .bold_line_style(INK.mix(0.14))
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|place| x_written(place))
        .y_label_formatter(&|place| y_axis.written(*place, span))
        .draw()?;
    Ok(chart)
}

/// Names beside their signs, from the top.
pub(super) fn legend(
    area: &Area,
    names: &[String],
    sign: impl Fn(usize, (i32, i32)) -> Vec<Box<dyn Fn(&Area) -> Drawn>>,
) -> Drawn {
    for (k, name) in names.iter().enumerate() {
        let at = (14, 20 + 19 * k as i32);
        for draw in sign(k, at) {
            draw(area)?;
        }
        let text = ("sans-serif", 13).into_font().color(&INK);
        area.draw(&Text::new(shortened(name), (at.0 + 20, at.1 - 6), text))?;
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    match name.chars().count() > LETTERS {
        true => name.chars().take(LETTERS - 1).chain(['\u{2026}']).collect(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_short() {
        let linear = |place, span| Axis::new("x").written(place, span);
        assert_eq!(linear(0.25, 1.0), "0.25");
        assert_eq!(linear(12345.6, 1e4), "12346");
        assert_eq!(linear(-1e-17, 1.0), "0");
        // Neighbours on a short axis are told apart.
        assert_ne!(linear(8.9701, 1e-3), linear(8.9702, 1e-3));
        assert_eq!(Axis::logarithmic("s").written(2.0, 1.0), "100");
        assert_eq!(Axis::logarithmic("s").written(-0.6, 1.0), "0.25");
        let steps = [1.0, 1.5].map(|place| Axis::whole("step").written(place, 3.0));
        assert_eq!(steps, ["1", ""]);
    }

    #[test]
    fn ranges_have_air() {
        let range = Axis::range([1.0, 2.0, f64::NAN].into_iter());
        assert!(range.start < 1.0 && range.end > 2.0 && range.end < 2.1);
        assert!(Axis::range([3.0].into_iter()).contains(&3.0));
        assert_eq!(Axis::range(std::iter::empty()), 0.0..1.0);
    }
}
