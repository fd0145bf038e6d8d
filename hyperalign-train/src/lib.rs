//! Learning and measuring: HyperAlign training with exact resume, pretraining, evaluation.
//!
//! ```no_run
//! use hyperalign_train::{align::{AlignSettings, align}, learner::Run, method::Materials};
//!
//! fn train(materials: &Materials) -> Result<(), Box<dyn std::error::Error>> {
//!     let settings: AlignSettings = serde_json::from_value(serde_json::json!({
//!         "method": { "name": "hyperalign" },
//!         "training": { "updates": 200 },
//!     }))?;
//!     let aligned = align(materials, &settings, &[0, 3, 6], &Run::new("run", "my run"))?;
//!     println!("{} updates: {:?}", aligned.updates, aligned.path);
//!     Ok(())
//! }
//! ```
//!
//! `examples/` has the materials: `align_a_base.rs` with a reward of one's own. `write_a_method.rs`
//! brings its own objective to the same [engine](learner).

pub mod align;
pub mod compare;
pub mod data;
pub mod eval;
pub mod learner;
pub mod method;
mod moments;
pub mod pretrain;
pub mod report;
pub mod study;
pub mod watch;
