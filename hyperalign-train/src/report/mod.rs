//! Reports of comparisons: tables, figures, grids and claims as one structure, which is written as
//! HTML and as Markdown.
//!
//! A report is made of records alone: nothing is computed anew but statistics, so that it can be
//! made again at any time.

mod build;
mod document;
mod events;
mod figures;
mod grids;
mod html;
mod markdown;
mod numbers;
pub mod plot;
mod run_folder;
mod study;
mod tables;
mod training;

pub use build::{Report, write_pages};
pub use document::{Block, Cells, Document, Figure, Pictures, Section, Series, Table, TableRow};
pub use events::EventFile;
pub use html::html;
pub use markdown::markdown;
pub use numbers::{BaseNumbers, EntryNumbers, Numbers};
pub use run_folder::run_log;
pub use study::of_study;
pub use training::{RunLog, of_training};
