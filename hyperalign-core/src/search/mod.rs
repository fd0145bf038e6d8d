//! Searches: pictures that a reward likes, found by drawing more than one. They evaluate the
//! frozen network more often and change nothing about it.

mod best_of_n;
mod das;
mod noise_search;
mod resampling;
mod tempering;

pub use best_of_n::BestOfN;
pub use das::Das;
pub use noise_search::NoiseSearch;
pub use resampling::Resampling;
pub use tempering::Tempering;
