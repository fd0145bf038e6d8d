//! The losses of a method, with pictures along the way.

use std::{error::Error, path::Path};

use hyperalign_core::{
    image::{GridStyle, Metadata, captioned_grid, to_images, write_png},
    sampler::unobserved,
};
use hyperalign_models::{
    generate::{Generation, Sampling},
    hypernet::{Adapter, AdapterMeta},
};
use serde_json::{Value, json};

use super::SampleSettings;
use crate::{
    data::PreferredData,
    learner::{Emit, Metric, Names, Objective, Shard, WeighedPart},
    method::{Method, Setup},
    watch::Watch,
};

/// A method's losses, with sample grids and evaluations every so many updates.
pub(super) struct Aligning<M: Method> {
    /// The method.
    pub(super) settings: M,
    /// Its losses.
    pub(super) method: M::Objective,
    /// What the adapter says of itself before it is trained.
    pub(super) meta: AdapterMeta,
    /// The grids.
    pub(super) grids: Grids,
    /// The evaluations.
    pub(super) watch: Option<Watch>,
}

/// Sample grids: the same prompts and seeds every time.
pub(super) struct Grids {
    /// When they are made.
    pub(super) settings: SampleSettings,
    /// With what.
    pub(super) setup: Setup,
}

/// The share of damaged pictures in what was drawn from files.
const PASSED_OVER: &str = "passed_over";

/// The key of what a watch remembers beside what the method does. A method that is not watched, or not
/// yet, has its memory to itself.
const WATCH: &str = "watch";

impl<M: Method> Aligning<M> {
    /// What the adapter says of itself as it is now.
    pub(super) fn described(&self) -> AdapterMeta {
        let mut meta = self.meta.clone();
        self.settings.describe(&self.method, &mut meta);
        meta
    }

    fn data(&self) -> Option<&dyn PreferredData> {
        self.grids.setup.materials.data.pictures()
    }
}

impl<M: Method> Objective for Aligning<M> {
    type Module = Adapter;
    type Batch = <M::Objective as Objective>::Batch;

    fn names(&self) -> Names {
        let mut names = self.method.names();
        if self.data().is_some_and(|data| data.passed_over().is_some()) {
            names.metrics.push(PASSED_OVER);
        }
        names
    }

    fn span(&self) -> u64 {
        self.method.span()
    }

    fn prepare(&self, adapter: &Adapter, update: u64) -> Self::Batch {
        self.method.prepare(adapter, update)
    }

    fn losses(
        &self,
        adapter: &Adapter,
        batch: &Self::Batch,
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        self.method.losses(adapter, batch, update, shard, emit);
        if let Some((passed_over, drawn)) = self.data().and_then(|data| data.passed_over()) {
            let count = (passed_over + drawn) as usize;
            emit.metric(Metric { name: PASSED_OVER, sum: passed_over as f64, count });
        }
    }

    fn weigh(&self, update: u64, parts: &mut [WeighedPart]) {
        self.method.weigh(update, parts);
    }

    fn memory(&self) -> Option<Value> {
        let method = self.method.memory();
        match self.watch.as_ref().and_then(Watch::remembered) {
            Some(watch) => Some(json!({ "method": method, WATCH: watch })),
            None => method,
        }
    }

    fn recall(&self, memory: Option<Value>) -> Result<(), serde_json::Error> {
        let (method, watched) = match memory {
            Some(Value::Object(mut both)) if both.contains_key(WATCH) => {
                let method = both.remove("method").filter(|method| !method.is_null());
                (method, both.remove(WATCH))
            }
            method => (method, None),
        };
        if let Some(watch) = &self.watch {
            watch.recall(watched)?;
        }
        self.method.recall(method)
    }

    fn wants_end(&self) -> bool {
        self.method.wants_end() || self.watch.as_ref().is_some_and(Watch::wants_end)
    }

    fn after_update(
        &self,
        adapter: &Adapter,
        done: u64,
        dir: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.method.after_update(adapter, done, dir)?;
        let every = self.grids.settings.every;
        if every > 0 && done.is_multiple_of(every) {
            let path = dir.join(format!("samples/step-{done:06}.png"));
            self.grids.write(Some(adapter), &path)?;
        }
        match self.watch.as_ref().filter(|watch| watch.is_due(done)) {
            Some(watch) => watch.evaluate(adapter, &self.described(), done, dir),
            None => Ok(()),
        }
    }
}

impl Grids {
    /// Writes pictures of the sample prompts: the base in the first row, and the adapted model,
    /// if there is one, in the second.
    ///
    /// # Errors
    ///
    /// Fails if the base refuses a prompt or the file cannot be written.
    pub(super) fn write(
        &self,
        adapter: Option<&Adapter>,
        path: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Setup { materials, trajectory, .. } = &self.setup;
        let base = self.setup.base();
        let prompts = materials.sample_prompts.iter().take(self.settings.prompts);
        let prompts: Vec<String> = prompts.cloned().collect();
        let sampling = Sampling::new(trajectory.steps, trajectory.guidance_scale);
        let generation = Generation::new(base, &sampling, &prompts)?;
        let seeds: Vec<u64> = (0..prompts.len() as u64).collect();
        let pictures = |adapter: Option<&Adapter>| {
            let key_steps = trajectory.key_steps.clone();
            let source = adapter
                .map(|adapter| adapter.source(base, trajectory.variant, key_steps))
                .unwrap_or_else(|| Box::new(hyperalign_core::contract::NoAdapter));
            let end = generation.run(source.as_ref(), &seeds, &mut unobserved);
            to_images(base.decode(end.sample))
        };
        let mut images = pictures(None);
        let mut rows = vec![format!("base {}", base.name())];
        if let Some(adapter) = adapter {
            images.extend(pictures(Some(adapter)));
            rows.push(trajectory.variant.label().to_owned());
        }
        let style = GridStyle::default();
        let grid = captioned_grid(&images, prompts.len(), &prompts, &rows, style);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let about = json!({
            "base": base.name(),
            "prompts": prompts,
            "steps": trajectory.steps,
            "guidance_scale": trajectory.guidance_scale,
            "attribution": materials.attribution,
        });
        let metadata = Metadata { hyperalign: Some(about), ..Metadata::default() };
        Ok(write_png(path, &grid, &metadata)?)
    }
}
