//! The losses of a method, with pictures along the way.

use std::{error::Error, path::Path};

use hyperalign_core::{
    image::{GridStyle, Metadata, captioned_grid, to_images, write_png},
    sampler::unobserved,
};
use hyperalign_models::{
    generate::{Generation, Sampling},
    hypernet::{Adapter, Variant},
};
use serde_json::json;

use super::SampleSettings;
use crate::{
    learner::{Losses, Objective, Shard},
    method::HyperAlign,
};

/// A method's losses, and sample grids every so many updates.
pub struct Aligning {
    /// The losses.
    pub method: HyperAlign,
    /// When grids are made.
    pub samples: SampleSettings,
    /// Prompts of the grids.
    pub prompts: Vec<String>,
    /// Whom the grids have to name.
    pub attribution: Option<&'static str>,
}

impl Objective for Aligning {
    type Module = Adapter;

    fn losses(&self, adapter: &Adapter, update: u64, shard: Shard) -> Losses {
        self.method.losses(adapter, update, shard)
    }

    fn after_update(
        &self,
        adapter: &Adapter,
        done: u64,
        dir: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.samples.every == 0 || !done.is_multiple_of(self.samples.every) {
            return Ok(());
        }
        self.write_grid(Some(adapter), &dir.join(format!("samples/step-{done:06}.png")))
    }
}

impl Aligning {
    /// Writes pictures of the sample prompts: the base in the first row, and the adapted model,
    /// if there is one, in the second. The same prompts and seeds every time.
    ///
    /// # Errors
    ///
    /// Fails if the base refuses a prompt or the file cannot be written.
    pub fn write_grid(
        &self,
        adapter: Option<&Adapter>,
        path: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let base = self.method.base.as_ref();
        let settings = &self.method.settings;
        let sampling = Sampling::new(settings.steps, settings.guidance_scale);
        let generation = Generation::new(base, &sampling, &self.prompts)?;
        let seeds: Vec<u64> = (0..self.prompts.len() as u64).collect();
        let pictures = |adapter: Option<&Adapter>, variant: Variant| {
            let source = adapter
                .map(|adapter| adapter.source(base, variant, settings.key_steps.clone()))
                .unwrap_or_else(|| Box::new(hyperalign_core::adapter::NoAdapter));
            let end = generation.run(source.as_ref(), &seeds, &mut unobserved);
            to_images(base.decode(end.sample))
        };
        let mut images = pictures(None, settings.variant);
        let mut rows = vec![format!("base {}", base.name())];
        if let Some(adapter) = adapter {
            images.extend(pictures(Some(adapter), settings.variant));
            rows.push(settings.variant.label().to_owned());
        }
        let style = GridStyle::default();
        let grid = captioned_grid(&images, self.prompts.len(), &self.prompts, &rows, style);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let about = json!({
            "base": base.name(),
            "prompts": self.prompts,
            "steps": settings.steps,
            "guidance_scale": settings.guidance_scale,
            "attribution": self.attribution,
        });
        let metadata = Metadata { hyperalign: Some(about), ..Metadata::default() };
        Ok(write_png(path, &grid, &metadata)?)
    }
}
