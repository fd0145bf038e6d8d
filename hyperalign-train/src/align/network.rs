//! The network that is trained.

use hyperalign_core::lora::LoraTarget;
use hyperalign_models::{
    base::Base,
    hypernet::{
        AdapterKind, ConfigError, FullWeightsConfig, Hypernet, HypernetConfig, StaticLoraConfig,
    },
    lora::{Layer, Part},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::learner::Settings;

/// What `training.optimizer.lr_factors` calls the layers that a hypernetwork's inner factors come
/// out of, all of them together.
pub(super) const OWN: &str = "own";

/// The trained network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NetworkSettings {
    /// The hypernetwork of HyperAlign; see [`HypernetConfig`] for the fields.
    Hypernet {
        /// Rank of the update.
        rank: usize,
        /// Inner width of the input side.
        a: usize,
        /// Inner width of the output side.
        b: usize,
        /// Width of the decoder.
        width: usize,
        /// Layers of the decoder.
        layers: usize,
        /// Attention heads of the decoder.
        heads: usize,
        /// Gain of the head at the start.
        head_gain: f64,
        /// Size of positions beside content.
        position_scale: f64,
        /// Blocks of the base's perception encoder that are run: of the way down of a U-Net, whose
        /// last is the middle, or of FLUX.1's double blocks; all of them if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encoder_depth: Option<usize>,
        /// Blocks at the beginning of the base that the update leaves alone, counted as
        /// `encoder_depth` is. The base runs an encoder of no more than these but once, for
        /// the hypernetwork and for the picture.
        #[serde(default, skip_serializing_if = "is_zero")]
        frozen_blocks: usize,
        /// What happens to the projections of a text stream.
        #[serde(default)]
        text_stream: TextStream,
        /// Ends of the paths of the layers that are adapted, as `to_q` or `attn2.to_k`; all of them
        /// if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        targets: Option<Vec<String>>,
    },
    /// A LoRA that is the same for every prompt and step: the control.
    StaticLora {
        /// Rank of the update.
        rank: usize,
        /// As of the hypernetwork.
        #[serde(default, skip_serializing_if = "is_zero")]
        frozen_blocks: usize,
        /// What happens to the projections of a text stream.
        #[serde(default)]
        text_stream: TextStream,
        /// As of the hypernetwork.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        targets: Option<Vec<String>>,
    },
    /// The weights of the denoiser's linear layers and convolutions themselves, the same for every
    /// prompt and step.
    Full {
        /// Ends of the paths of the layers that are trained, as `to_q` or `conv1`; all of them if
        /// nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        targets: Option<Vec<String>>,
    },
}

/// Whether an update adapts the projections of a base's text stream, as FLUX.1 has one, beside
/// those of its image stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextStream {
    /// They stay as they are.
    #[default]
    Frozen,
    /// They are adapted as well.
    Adapted,
}

fn is_zero(blocks: &usize) -> bool {
    *blocks == 0
}

/// The layers of `base` that are adapted: those behind the frozen blocks that `ends` name.
fn targets(
    base: &dyn Base,
    frozen_blocks: usize,
    text_stream: TextStream,
    ends: Option<&[String]>,
) -> Result<Vec<LoraTarget>, ConfigError> {
    let mut targets = base.lora_targets();
    if text_stream == TextStream::Adapted {
        targets.extend(base.text_targets());
    }
    let depths = base.depths();
    if frozen_blocks > depths {
        return Err(ConfigError::Frozen { blocks: frozen_blocks, depths });
    }
    if frozen_blocks > 0 {
        targets.retain(|target| base.comes_behind(Some(frozen_blocks), &target.path));
    }
    ending(targets, ends)
}

/// All layers of the denoiser of `base` that `ends` name.
fn layers(base: &dyn Base, ends: Option<&[String]>) -> Result<Vec<LoraTarget>, ConfigError> {
    let Some(layers) = base.lora_layers() else { return ending(base.lora_targets(), ends) };
    let of_denoiser = layers.all().iter().filter(|layer| layer.part == Part::Denoiser);
    let target = |layer: &Layer| LoraTarget {
        path: layer.path.clone(),
        d_input: layer.d_input(),
        d_output: layer.d_output(),
    };
    ending(of_denoiser.map(target).collect(), ends)
}

/// Those of `targets` that `ends` name; all of them where nothing is named.
fn ending(
    mut targets: Vec<LoraTarget>,
    ends: Option<&[String]>,
) -> Result<Vec<LoraTarget>, ConfigError> {
    let Some(ends) = ends else { return Ok(targets) };
    let is = |target: &LoraTarget, end: &String| {
        target
            .path
            .strip_suffix(end.as_str())
            .is_some_and(|rest| !end.is_empty() && (rest.is_empty() || rest.ends_with('.')))
    };
    if let Some(given) = ends.iter().find(|&end| !targets.iter().any(|target| is(target, end))) {
        let mut known: Vec<String> = targets.iter().map(|target| last_name(&target.path)).collect();
        known.sort_unstable();
        known.dedup();
        return Err(ConfigError::Target { given: given.clone(), known });
    }
    targets.retain(|target| ends.iter().any(|end| is(target, end)));
    Ok(targets)
}

/// The name of a layer without those of the modules that it lies in; `to_out.0` is one name.
fn last_name(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let first = parts.iter().rposition(|part| part.parse::<usize>().is_err()).unwrap_or(0);
    parts[first..].join(".")
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self::Hypernet {
            rank: 4,
            a: 16,
            b: 16,
            width: 96,
            layers: 2,
            heads: 4,
            head_gain: 1.0,
            position_scale: 0.1,
            encoder_depth: None,
            frozen_blocks: 0,
            text_stream: TextStream::Frozen,
            targets: None,
        }
    }
}

impl NetworkSettings {
    /// `training` with the rates of this network's layers, where it does not say others: the
    /// factor `own` is spelled out, and means nothing to a static LoRA.
    pub fn rates(&self, mut training: Settings) -> Settings {
        let factors = &mut training.optimizer.lr_factors;
        let own = factors.remove(OWN);
        if let (Self::Hypernet { .. }, Some(own)) = (self, own) {
            for layer in Hypernet::OWN_LAYERS {
                factors.entry(layer.to_owned()).or_insert(own);
            }
        }
        training
    }

    /// The LoRA of the same rank on the same layers that is the same for every prompt and step; whole
    /// weights are that already, and stay.
    #[must_use]
    pub fn static_lora(&self) -> Self {
        match self {
            Self::Hypernet { rank, frozen_blocks, text_stream, targets, .. } => Self::StaticLora {
                rank: *rank,
                frozen_blocks: *frozen_blocks,
                text_stream: *text_stream,
                targets: targets.clone(),
            },
            Self::StaticLora { .. } | Self::Full { .. } => self.clone(),
        }
    }

    /// The network for `base`.
    ///
    /// # Errors
    ///
    /// Fails if the base's encoder does not have that many blocks, or no layer of such a name.
    pub fn kind(&self, base: &dyn Base) -> Result<AdapterKind, ConfigError> {
        Ok(match *self {
            Self::Hypernet {
                rank,
                a,
                b,
                width,
                layers,
                heads,
                head_gain,
                position_scale,
                encoder_depth,
                frozen_blocks,
                text_stream,
                targets: ref ends,
            } => {
                let depths = base.depths();
                if let Some(depth) = encoder_depth.filter(|depth| !(1..=depths).contains(depth)) {
                    return Err(ConfigError::Depth { depth, depths });
                }
                let targets = targets(base, frozen_blocks, text_stream, ends.as_deref())?;
                let feature_dim = base.feature_dim(encoder_depth);
                AdapterKind::Hypernet(HypernetConfig {
                    rank,
                    a,
                    b,
                    width,
                    layers,
                    heads,
                    alpha: rank as f64,
                    head_gain,
                    position_scale,
                    encoder_depth,
                    ..HypernetConfig::new(targets, feature_dim, base.context_dim())
                })
            }
            Self::StaticLora { rank, frozen_blocks, text_stream, targets: ref ends } => {
                let targets = targets(base, frozen_blocks, text_stream, ends.as_deref())?;
                AdapterKind::StaticLora(StaticLoraConfig { rank, alpha: rank as f64, targets })
            }
            Self::Full { targets: ref ends } => {
                let targets = layers(base, ends.as_deref())?;
                AdapterKind::FullWeights(FullWeightsConfig { targets })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::AlignSettings;
    use hyperalign_core::testing;

    #[test]
    fn layers_are_named_by_the_end_of_their_paths() {
        let base = hyperalign_models::testing::small_base(1, &testing::device());
        let base: &dyn Base = &base;
        let with = |given: &[&str]| {
            let mut network = NetworkSettings::default();
            if let NetworkSettings::Hypernet { targets, .. } = &mut network {
                *targets = Some(given.iter().map(|&end| end.to_owned()).collect());
            }
            let kinds = [network.static_lora(), network].map(|network| network.kind(base));
            kinds.map(|kind| {
                kind.map(|kind| match kind {
                    AdapterKind::Hypernet(config) => config.targets,
                    AdapterKind::StaticLora(config) => config.targets,
                    AdapterKind::FullWeights(_) => unreachable!("not asked for"),
                })
            })
        };
        let all = base.lora_targets();
        let ending = |ends: &[&str]| -> Vec<LoraTarget> {
            let is = |target: &&LoraTarget| ends.iter().any(|end| target.path.ends_with(end));
            all.iter().filter(is).cloned().collect()
        };
        for ends in [&["to_q", "to_out.0"][..], &["attn2.to_k"]] {
            let expected = ending(ends);
            assert!(!expected.is_empty() && expected.len() < all.len());
            for found in with(ends) {
                assert_eq!(found.unwrap(), expected);
            }
        }
        for wrong in ["o_q", "to_x", ""] {
            for found in with(&["to_q", wrong]) {
                let error = found.unwrap_err().to_string();
                let known = "to_k, to_out.0, to_q, to_v";
                assert!(error.contains(&format!("`{wrong}`")) && error.contains(known), "{error}");
            }
        }
    }

    #[test]
    fn frozen_blocks_are_left_alone() {
        let base = hyperalign_models::testing::small_base(1, &testing::device());
        let base: &dyn Base = &base;
        let with = |frozen: usize| {
            let mut network = NetworkSettings::default();
            if let NetworkSettings::Hypernet { frozen_blocks, .. } = &mut network {
                *frozen_blocks = frozen;
            }
            let [lora, hypernet] = [network.static_lora(), network].map(|n| n.kind(base));
            match (lora, hypernet) {
                (Ok(AdapterKind::StaticLora(lora)), Ok(AdapterKind::Hypernet(hypernet))) => {
                    assert_eq!(lora.targets, hypernet.targets, "the control has the same layers");
                    Ok(hypernet.targets)
                }
                (Err(error), Err(_)) => Err(error.to_string()),
                _ => unreachable!("both or none"),
            }
        };
        let depths = base.depths();
        assert_eq!(with(0).unwrap(), base.lora_targets());
        let behind_the_way_down = with(depths - 1).unwrap();
        let none_of = |targets: &[LoraTarget], name: &str| {
            !targets.iter().any(|target| target.path.starts_with(name))
        };
        assert!(none_of(&behind_the_way_down, "down_blocks"));
        assert!(!none_of(&behind_the_way_down, "mid_block"));
        let way_up = with(depths).unwrap();
        assert!(none_of(&way_up, "mid_block") && !none_of(&way_up, "up_blocks"));
        let error = with(depths + 1).unwrap_err();
        assert!(error.contains("`frozen_blocks` is 4") && error.contains("0 to 3"), "{error}");
    }

    #[test]
    fn all_layers_have_whole_weights() {
        let base = hyperalign_models::testing::small_base(1, &testing::device());
        let of = |ends: Option<&[&str]>| {
            let ends = ends.map(|ends| ends.iter().map(|&end| end.to_owned()).collect());
            match (NetworkSettings::Full { targets: ends }).kind(&base) {
                Ok(AdapterKind::FullWeights(config)) => Ok(config),
                Ok(_) => unreachable!(),
                Err(error) => Err(error.to_string()),
            }
        };
        let all = of(None).unwrap();
        for path in ["conv_in", "time_embedding.linear_1"] {
            assert!(all.targets.iter().any(|target| target.path == path), "{path}");
        }
        // No bias, no norm, and nothing of the text encoder.
        let found: u64 = all.targets.iter().map(|t| (t.d_input * t.d_output) as u64).sum();
        assert_eq!(found, all.numbers());
        let attention = (&base as &dyn Base).lora_targets();
        assert!(all.targets.len() > attention.len());
        let some = of(Some(&["conv_in"])).unwrap();
        assert_eq!(some.targets.len(), 1);
        assert!(of(Some(&["norm1"])).unwrap_err().contains("`norm1`"));
    }

    #[test]
    fn own_layers_are_slower_where_nothing_else_is_said() {
        let mut training = AlignSettings::default().training;
        training.optimizer.lr_factors.insert("head".to_owned(), 0.5);
        let factors = NetworkSettings::default().rates(training.clone()).optimizer.lr_factors;
        assert_eq!(factors.len(), Hypernet::OWN_LAYERS.len());
        assert_eq!((factors["head"], factors["decoder"]), (0.5, 0.1));
        let lora = NetworkSettings::default().static_lora().rates(training).optimizer.lr_factors;
        assert_eq!(lora.into_keys().collect::<Vec<_>>(), ["head"]);
    }
}
