//! What a step-aware preference model has beside CLIP (Liang et al. 2024, arXiv:2406.04314,
//! section 3.2): its vision side reads the timestep that a picture was estimated at.
//!
//! Every layer norm of the vision side is shifted and scaled, and every branch of a block weighed, by
//! what a linear layer makes of the timestep (adaLN-Zero; Peebles & Xie 2023, arXiv:2212.09748,
//! section 3.2). The published network began as PickScore: all of these layers gave nothing, and
//! their gates one.

use burn::{
    module::Param,
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor},
};

use crate::weights::{Key, Tensors};

/// Sinusoids that a timestep becomes first.
pub(super) const SINUSOIDS: usize = 256;

/// How the keys of the published file begin.
const PREFIX: &str = "model.";
/// What its parts are called: ours, theirs.
const PARTS: [(&str, &str); 3] = [
    (".modulation.", ".adaLN_modulation.1."),
    ("time_embedding.linear_1.", "t_embedder.mlp.0."),
    ("time_embedding.linear_2.", "t_embedder.mlp.2."),
];
/// A key that only step-aware networks have: ours, theirs.
const MARKS: [&str; 2] = ["time_embedding.linear_1.weight", "model.t_embedder.mlp.0.weight"];

/// Whether `tensors` are of a step-aware network in our layout.
pub(super) fn is_ours(tensors: &Tensors) -> bool {
    tensors.contains(MARKS[0])
}

/// Whether they are of one in the layout that it is published in.
pub(super) fn is_published(tensors: &Tensors) -> bool {
    tensors.contains(MARKS[1])
}

/// Gives tensors of the published layout our names.
pub(super) fn to_ours(tensors: Tensors) -> Tensors {
    tensors.rename(|key| {
        let key = key.strip_prefix(PREFIX).unwrap_or(key);
        let renamed = |key: String, (ours, theirs): &(&str, &str)| key.replace(theirs, ours);
        Some(PARTS.iter().fold(key.to_owned(), renamed))
    })
}

/// What the published file calls the tensor that is `ours` here.
pub(super) fn their_name(ours: &str) -> String {
    let renamed = |name: String, (ours, theirs): &(&str, &str)| name.replace(ours, theirs);
    format!("{PREFIX}{}", PARTS.iter().fold(ours.to_owned(), renamed))
}

/// The keys of a published file that holds the network whose keys are `ours`.
pub fn from_ours(ours: &[Key]) -> Vec<Key> {
    ours.iter().map(|key| Key { name: their_name(&key.name), shape: key.shape.clone() }).collect()
}

/// What a timestep does to one branch of a block, `[batch, 1, dim]` each.
#[derive(Debug, Clone)]
pub(super) struct Modulation {
    shift: Tensor<3>,
    scale: Tensor<3>,
    gate: Tensor<3>,
}

impl Modulation {
    /// `x (1 + scale) + shift`, of the normed states that enter the branch.
    pub(super) fn enter(&self, x: Tensor<3>) -> Tensor<3> {
        x * (self.scale.clone() + 1.0) + self.shift.clone()
    }

    /// `x gate`, of what leaves it.
    pub(super) fn leave(&self, x: Tensor<3>) -> Tensor<3> {
        x * self.gate.clone()
    }
}

/// A layer that makes `parts` rows of `dim` numbers of a timestep: nothing at first, whatever the
/// timestep, except for 1 in those of `ones`.
pub(super) fn modulation(dim: usize, parts: usize, ones: &[usize], device: &Device) -> Linear {
    let zeros = LinearConfig::new(dim, parts * dim).with_initializer(Initializer::Zeros);
    let row = |part: usize| match ones.contains(&part) {
        true => Tensor::<1>::ones([dim], device),
        false => Tensor::<1>::zeros([dim], device),
    };
    let bias = Param::from_tensor(Tensor::cat((0..parts).map(row).collect(), 0));
    Linear { bias: Some(bias), ..zeros.init(device) }
}

/// That of a block: shift, scale and gate of the attention, then of the perceptron.
pub(super) fn modulation_of_block(dim: usize, device: &Device) -> Linear {
    modulation(dim, 6, &[2, 5], device)
}

/// What `layer` makes of a timestep for the two branches of a block.
///
/// # Shapes
///
/// - `time`: `[batch, dim]`, behind its activation
pub(super) fn branches(layer: &Linear, time: &Tensor<2>) -> [Modulation; 2] {
    let parts = layer.forward(time.clone()).unsqueeze_dim::<3>(1);
    let dim = time.dims()[1];
    let part = |k: usize| parts.clone().narrow(2, k * dim, dim);
    [0, 3].map(|k| Modulation { shift: part(k), scale: part(k + 1), gate: part(k + 2) })
}

#[cfg(test)]
mod tests {
    use hyperalign_core::testing;

    use super::*;
    use crate::{
        clip::{ClipConfig, ClipTextConfig, ClipVisionConfig},
        testing::shaken,
        weights::{FileFloat, Folder, keys, save},
    };

    fn config() -> ClipConfig {
        ClipConfig {
            text_config: ClipTextConfig {
                vocab_size: 20,
                hidden_size: 8,
                intermediate_size: 12,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                max_position_embeddings: 6,
                eos_token_id: 19,
                ..ClipTextConfig::default()
            },
            vision_config: ClipVisionConfig {
                hidden_size: 8,
                intermediate_size: 12,
                num_hidden_layers: 2,
                num_attention_heads: 2,
                image_size: 8,
                patch_size: 4,
                ..ClipVisionConfig::default()
            },
            projection_dim: 6,
            step_aware: true,
            ..ClipConfig::default()
        }
    }

    /// Its published start: whatever the timestep, the network is the CLIP that it was made of.
    #[test]
    fn before_training_the_timestep_changes_nothing() {
        let device = testing::device();
        let aware = config().init(&device);
        assert!(aware.is_step_aware());
        let image = Tensor::<4>::random(
            [2, 3, 8, 8],
            burn::tensor::Distribution::Normal(0.0, 1.0),
            &device,
        );
        let at = |timesteps: [f64; 2]| {
            aware.image_features_at(image.clone(), Tensor::from_data(timesteps, &device))
        };
        let difference = (at([0.0, 0.0]) - at([999.0, 20.0])).abs().max().into_scalar::<f32>();
        assert_eq!(difference, 0.0);
        let clean = aware.image_features(image.clone());
        assert_eq!((at([0.0, 0.0]) - clean).abs().max().into_scalar::<f32>(), 0.0);
    }

    /// After it, each row reads its own; without one a picture is clean, which is timestep 0.
    #[test]
    fn every_picture_is_read_at_its_own_timestep() {
        let device = testing::device();
        let aware = shaken(config().init(&device), 0.3);
        let image = Tensor::<4>::random(
            [1, 3, 8, 8],
            burn::tensor::Distribution::Normal(0.0, 1.0),
            &device,
        );
        let at = |timesteps: &[f64]| {
            let rows = image.clone().repeat_dim(0, timesteps.len());
            let features = aware.image_features_at(rows, Tensor::from_data(timesteps, &device));
            features.into_data().try_to_vec::<f32>().unwrap()
        };
        let both = at(&[0.0, 500.0]);
        let apart =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let clean = aware.image_features(image.clone()).into_data().try_to_vec::<f32>().unwrap();
        let other = apart(&both[..6], &both[6..]);
        assert!(other > 0.0);
        assert!(apart(&both[..6], &at(&[0.0])) < 0.01 * other);
        assert!(apart(&both[6..], &at(&[500.0])) < 0.01 * other);
        assert!(apart(&both[..6], &clean) < 0.01 * other);
    }

    #[test]
    fn files_have_the_published_names() {
        let device = testing::device();
        let aware = shaken(config().init(&device), 0.3);
        let theirs: Vec<String> =
            from_ours(&keys(&aware)).into_iter().map(|key| key.name).collect();
        for name in [
            "model.vision_model.encoder.layers.1.adaLN_modulation.1.bias",
            "model.vision_model.adaLN_modulation.1.weight",
            "model.t_embedder.mlp.0.weight",
            "model.t_embedder.mlp.2.bias",
            "model.text_projection.weight",
        ] {
            assert!(theirs.iter().any(|key| key == name), "{name} in {theirs:?}");
        }
        // A missing one is told in their words.
        let dir = tempfile::tempdir().unwrap();
        save(&aware, &dir.path().join("model.safetensors"), FileFloat::F32, &Default::default())
            .unwrap();
        let stored = Folder::disk(dir.path()).tensors("").unwrap();
        let published = stored.rename(|key| Some(their_name(key)));
        let plain = ClipConfig { step_aware: false, ..config() };
        let again =
            crate::clip::ClipModel::from_tensors(&plain, published.clone(), &device).unwrap();
        assert!(again.is_step_aware(), "told by the tensors");
        let image = Tensor::<4>::ones([1, 3, 8, 8], &device);
        let features = |model: &crate::clip::ClipModel| {
            let timesteps = Tensor::from_data([300.0], &device);
            model.image_features_at(image.clone(), timesteps).into_data()
        };
        assert_eq!(features(&again), features(&aware));

        let cut = published.rename(|key| {
            (key != "model.vision_model.adaLN_modulation.1.bias").then(|| key.to_owned())
        });
        let error = crate::clip::ClipModel::from_tensors(&plain, cut, &device).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("model.vision_model.adaLN_modulation.1.bias"), "{told}");
    }
}
