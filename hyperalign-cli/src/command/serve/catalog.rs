//! What can be ordered, and whether a wish is that.

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use axum::http::StatusCode;
use hyperalign_core::schedule::Solver;
use hyperalign_models::{
    base::Base,
    generate::{Sampling, Shot},
    hypernet::Variant,
};

use super::{
    fields::nearest,
    order::{Order, Recipe, Wish},
};
use crate::{base, server::Refusal};

/// The most letters of a prompt: more than any text encoder reads, and little to carry about.
const PROMPT: usize = 10_000;
/// The largest weight of guidance, and the largest scale of a LoRA file: numbers that overflow make
/// no pictures.
const WEIGHT: f64 = 100.0;
/// The most previews of a picture.
pub const PREVIEWS: u64 = 10;

/// What a client may choose at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sampling steps.
    pub steps: usize,
    /// Pictures of one request.
    pub pictures: usize,
    /// Height or width of a picture in pixels.
    pub side: usize,
}

/// What can be ordered here.
pub struct Catalog {
    /// The base, without LoRA files.
    pub base: Arc<dyn Base>,
    /// How it is sampled where nothing is said.
    pub sampling: Sampling,
    /// Whether there is an adapter.
    pub has_adapter: bool,
    /// How it is used where nothing is said; `None` is the base as it is.
    pub variant: Option<Variant>,
    /// The LoRA files by their names, with the scales that they have where nothing is said.
    pub loras: Vec<(String, f64)>,
    /// What may be chosen at most.
    pub limits: Limits,
}

/// A wish that cannot be fulfilled.
pub fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

impl Catalog {
    /// Checks a wish and draws a seed where it has none.
    ///
    /// # Errors
    ///
    /// Refuses, in words for the client, what the base cannot read or make, what there is no such
    /// thing of here, and more than the limits allow.
    pub fn order(&self, wish: &Wish) -> Result<Order, Refusal> {
        let most = self.limits;
        let pictures = within("pictures", wish.pictures.unwrap_or(1), 1, most.pictures)?;
        let previews = within("previews", wish.previews, 0, PREVIEWS as usize)?;
        let mut sampling = Sampling { size: wish.size, ..self.sampling.clone() };
        if let Some(steps) = wish.steps {
            sampling.steps = within("steps", steps, 1, most.steps)?;
        }
        if let Some(guidance) = wish.guidance {
            sampling.guidance_scale = weight("the weight of guidance", guidance)?;
        }
        if wish.solver.solver.is_some() || wish.solver.eta.is_some() {
            sampling.solver = wish.solver;
        }
        let mut warnings = Vec::new();
        sampling.negative_prompt = self.negative(wish, &sampling, &mut warnings)?;
        let size = self.size(wish)?;
        self.read(&wish.prompt, &mut warnings)?;
        let latents = self.base.latents_of(size).map_err(|error| bad(error.to_string()))?;
        let plan = self.base.plan(sampling.steps, sampling.solver, latents);
        plan.map_err(|error| bad(error.to_string()))?;
        let seed = wish.seed.unwrap_or_else(any_seed);
        let Some(_) = seed.checked_add(pictures as u64) else {
            return Err(bad(format!("the seed {seed} has no {pictures} seeds from it on")));
        };
        let shot = |k| Shot::new(wish.prompt.as_str(), seed + k as u64);
        let (variant, loras) = (self.variant(wish)?, self.loras(wish)?);
        let recipe = Arc::new(Recipe { sampling, variant, loras });
        Ok(Order { recipe, shots: (0..pictures).map(shot).collect(), size, previews, warnings })
    }

    /// The solver that a recipe comes to.
    pub fn solver(&self, recipe: &Recipe) -> Result<Solver, Refusal> {
        self.base.solver(recipe.sampling.solver).map_err(|error| bad(error.to_string()))
    }

    /// Checks that the base reads a text, and tells what of it the base does not.
    fn read(&self, text: &str, warnings: &mut Vec<String>) -> Result<(), Refusal> {
        let letters = text.chars().count();
        if letters > PROMPT {
            return Err(bad(format!("a prompt has {letters} letters; at most {PROMPT} are taken")));
        }
        let cuts = self.base.cut_off(&[text.to_owned()]);
        let cuts = cuts.map_err(|error| bad(error.to_string()))?;
        warnings.extend(base::weighted(text).map(base::told_of_weights));
        warnings.extend(cuts.iter().map(base::told_of_cut));
        Ok(())
    }

    /// What the pictures are led away from.
    fn negative(
        &self,
        wish: &Wish,
        sampling: &Sampling,
        warnings: &mut Vec<String>,
    ) -> Result<String, Refusal> {
        if wish.negative_prompt.is_empty() {
            return Ok(String::new());
        }
        let reason = match (self.base.reads_unconditional(), sampling.guidance_scale) {
            (false, _) => {
                "the base was distilled to be told its guidance, and reads no second prompt"
            }
            (true, 1.0) => "the weight of guidance is 1, which turns it off",
            (true, _) => {
                self.read(&wish.negative_prompt, warnings)?;
                return Ok(wish.negative_prompt.clone());
            }
        };
        let text = format!("the negative prompt has no meaning here: {reason}");
        if !wish.is_lenient {
            return Err(bad(format!("{text}; leave it out")));
        }
        warnings.push(text);
        Ok(String::new())
    }

    fn size(&self, wish: &Wish) -> Result<[usize; 2], Refusal> {
        let size = wish.size.unwrap_or(self.base.picture_size());
        let (most, [height, width]) = (self.limits.side, size);
        if size.iter().any(|side| *side > most) {
            return Err(bad(format!(
                "pictures {width} wide and {height} high were asked for; at most {most} are made"
            )));
        }
        Ok(size)
    }

    fn variant(&self, wish: &Wish) -> Result<Option<Variant>, Refusal> {
        let Some(name) = &wish.variant else { return Ok(self.variant) };
        let variant = match name.to_lowercase().as_str() {
            "base" | "none" => return Ok(None),
            "s" => Variant::S,
            "p" => Variant::P,
            "i" => Variant::I,
            _ => return Err(bad(format!("there is no variant `{name}`; there are base, s, p, i"))),
        };
        if !self.has_adapter {
            return Err(bad(format!(
                "the variant `{name}` needs an adapter, and this server was started without one; \
                 take `base`"
            )));
        }
        Ok(Some(variant))
    }

    /// The LoRA files that are laid over the base, in the order that they were given in.
    fn loras(&self, wish: &Wish) -> Result<Vec<(usize, f64)>, Refusal> {
        let mut loras = Vec::new();
        for (name, scale) in wish.loras.as_ref().unwrap_or(&self.loras) {
            let place = self.loras.iter().position(|(known, _)| known == name);
            let Some(place) = place else {
                let known: Vec<&str> = self.loras.iter().map(|(name, _)| name.as_str()).collect();
                return Err(bad(format!("there is no LoRA `{name}`{}", nearest(name, &known))));
            };
            if loras.iter().any(|(other, _)| *other == place) {
                return Err(bad(format!("the LoRA `{name}` is there twice; add its scales up")));
            }
            loras.push((place, weight("the scale of a LoRA", *scale)?));
        }
        loras.retain(|(_, scale)| *scale != 0.0);
        loras.sort_by_key(|(place, _)| *place);
        Ok(loras)
    }
}

/// `number`, if it lies in the range.
fn within(what: &str, number: u64, least: usize, most: usize) -> Result<usize, Refusal> {
    let fits = usize::try_from(number).ok().filter(|number| (least..=most).contains(number));
    fits.ok_or_else(|| {
        bad(format!("{number} {what} were asked for; from {least} to {most} are taken"))
    })
}

/// `number`, if a network can bear it.
fn weight(what: &str, number: f64) -> Result<f64, Refusal> {
    if number.abs() <= WEIGHT {
        return Ok(number);
    }
    Err(bad(format!("{what} is {number}; from -{WEIGHT} to {WEIGHT} are taken")))
}

/// A seed that nobody chose, of 32 bits: every client can read those, and give them again.
fn any_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish() >> 32
}
