//! Writing a LoRA file in a convention.

use std::{collections::BTreeMap, path::Path};

use hyperalign_core::atomic;
use serde_json::{Value, json};

use super::{
    Convention, Factor, Layers, LoraError, LoraFile, Part, Update,
    alpha::HEADER,
    fused,
    names::{self, Slice},
};
use crate::weights::encode;

/// The number format, the shape and the bytes of each tensor.
type Stored = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

impl LoraFile {
    /// Writes the file in `convention`, with the values in the formats that they came in.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    ///
    /// # Panics
    ///
    /// Panics for [`Convention::Hyperalign`], which only a training run writes.
    pub fn write(
        &self,
        path: &Path,
        layers: &Layers,
        convention: Convention,
    ) -> Result<(), LoraError> {
        Ok(atomic::write(path, &self.to_bytes(layers, convention))?)
    }

    /// The bytes that [`write`](Self::write) writes.
    ///
    /// # Panics
    ///
    /// As [`write`](Self::write).
    pub fn to_bytes(&self, layers: &Layers, convention: Convention) -> Vec<u8> {
        let [down, up] = match convention {
            Convention::Kohya => ["lora_down", "lora_up"],
            Convention::Peft | Convention::Bfl => ["lora_A", "lora_B"],
            Convention::Hyperalign => panic!("an adapter of ours is written by its run"),
        };
        let mut stored = Stored::new();
        for (name, slices) in names::written(layers, convention) {
            let updates: Vec<Option<&Update>> =
                slices.iter().map(|slice| self.updates.get(&slice.layer)).collect();
            if updates.iter().all(Option::is_none) {
                continue;
            }
            let update = match updates.as_slice() {
                [Some(update)] if !slices[0].swapped => (*update).clone(),
                updates => fused::join(&slices, updates),
            };
            let [of_down, of_up] = shapes(layers, &slices, &update);
            stored.insert(format!("{name}.{down}.weight"), factor(&update.down, of_down));
            stored.insert(format!("{name}.{up}.weight"), factor(&update.up, of_up));
            if convention != Convention::Peft {
                let alpha = (update.alpha as f32).to_le_bytes().to_vec();
                stored.insert(format!("{name}.alpha"), ("F32".to_owned(), Vec::new(), alpha));
            }
        }
        let mut metadata = self.metadata.clone();
        metadata.remove(HEADER);
        metadata.insert("format".to_owned(), "pt".to_owned());
        if convention == Convention::Peft {
            metadata.insert(HEADER.to_owned(), self.peft_config(layers).to_string());
        }
        encode(&stored, &metadata)
    }

    /// The configuration that diffusers reads the alphas from.
    fn peft_config(&self, layers: &Layers) -> Value {
        let mut config = serde_json::Map::new();
        for part in [Part::Denoiser, Part::TextEncoder, Part::TextEncoder2] {
            let own: Vec<(&str, &Update)> = self
                .updates
                .iter()
                .map(|(layer, update)| (&layers.all()[*layer], update))
                .filter(|(layer, _)| layer.part == part)
                .map(|(layer, update)| (layer.path.as_str(), update))
                .collect();
            let Some((_, first)) = own.first() else { continue };
            let (rank, alpha) = (first.rank(), first.alpha);
            let others = |differs: &dyn Fn(&Update) -> Option<Value>| -> Value {
                let of =
                    |(path, update): &(&str, &Update)| Some(((*path).to_owned(), differs(update)?));
                own.iter().filter_map(of).collect::<serde_json::Map<_, _>>().into()
            };
            let paths: Vec<&str> = own.iter().map(|(path, _)| *path).collect();
            let settings = [
                ("r", json!(rank)),
                ("lora_alpha", number(alpha)),
                ("rank_pattern", others(&|u| (u.rank() != rank).then(|| json!(u.rank())))),
                ("alpha_pattern", others(&|u| (u.alpha != alpha).then(|| number(u.alpha)))),
                ("target_modules", json!(paths)),
                ("use_dora", json!(false)),
                ("lora_bias", json!(false)),
            ];
            let part = part.name(layers.family());
            config.extend(settings.map(|(name, value)| (format!("{part}.{name}"), value)));
        }
        Value::Object(config)
    }
}

/// A whole number as one: PEFT's type is an integer, and it says so.
fn number(alpha: f64) -> Value {
    if alpha.fract() == 0.0 && alpha.abs() < 1e9 { json!(alpha as i64) } else { json!(alpha) }
}

/// The shapes of both factors in a file: of a convolution they are convolutions too.
fn shapes(layers: &Layers, slices: &[Slice], update: &Update) -> [Vec<usize>; 2] {
    let layer = &layers.all()[slices[0].layer];
    let (rank, rows) = (update.rank(), update.up.rows);
    match layer.shape.as_slice() {
        [_, rest @ ..] if rest.len() > 1 => {
            let mut up = vec![1; layer.shape.len()];
            (up[0], up[1]) = (rows, rank);
            [[&[rank], rest].concat(), up]
        }
        _ => [vec![rank, layer.d_input()], vec![rows, rank]],
    }
}

fn factor(factor: &Factor, shape: Vec<usize>) -> (String, Vec<usize>, Vec<u8>) {
    (factor.float.name().to_owned(), shape, factor.float.bytes(&factor.values))
}
