//! Drawings as SVG that read on light and dark paper.

mod bars;
mod chart;
mod lines;
mod scatter;

pub use bars::{Bars, bars};
pub use chart::Axis;
pub use lines::{Line, lines};
pub use scatter::{Point, pareto_front, scatter};
