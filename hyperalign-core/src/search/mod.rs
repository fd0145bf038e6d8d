//! Searches: pictures that a reward likes, found by drawing more than one. They evaluate the
//! frozen network more often and change nothing about it.

mod best_of_n;

pub use best_of_n::BestOfN;
