//! The keys of a LoRA file: which module each belongs to, and as what.

use std::collections::BTreeMap;

use crate::weights::Tensors;

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The factor next to the input, `[rank, d_input]`.
    Down,
    /// The factor next to the output, `[d_output, rank]`.
    Up,
    /// `alpha`, of which over the rank is the scale.
    Alpha,
}

impl Role {
    /// What is missing where it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "lora_down (lora_A)",
            Self::Up => "lora_up (lora_B)",
            Self::Alpha => "alpha",
        }
    }
}

/// Ends of keys; the first that fits counts.
const ENDS: [(&str, Role); 15] = [
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".alpha", Role::Alpha),
    (".network_alpha", Role::Alpha),
    // diffusers of before 2024.
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    ("_lora.alpha", Role::Alpha),
];

/// Marks of keys that belong to other things than LoRA, and what these are.
const OTHERS: [(&str, &str); 21] = [
    (".dora_scale", "DoRA, which also changes the length of each weight's columns"),
    (".lora_magnitude_vector", "DoRA, which also changes the length of each weight's columns"),
    (".hada_", "LoHa, whose update is a product of two, element by element"),
    (".lokr_", "LoKr, whose update is a Kronecker product"),
    (".lora_mid.", "LoCon in its Tucker form, which has a third factor"),
    (".boft_", "BOFT, which rotates weights"),
    (".oft_", "OFT, which rotates weights"),
    (".on_input", "IA3, which scales features"),
    (".lora_B.bias", "LoRA with a bias, which changes biases too"),
    (".lora_up.bias", "LoRA with a bias, which changes biases too"),
    (".lora_A.bias", "LoRA with a bias, which changes biases too"),
    (".diff_b", "a full difference of weights"),
    (".diff", "a full difference of weights"),
    (".w_norm", "a full difference of norms"),
    (".a1.weight", "GLoRA, which also changes features"),
    (".lora_embedding_", "LoRA of an embedding"),
    (".processor.qkv_lora1.", "a LoRA in the layout of XLabs"),
    (".processor.proj_lora1.", "a LoRA in the layout of XLabs"),
    ("bundle_emb.", "a LoRA with embedded textual inversions"),
    ("emb_params", "a textual inversion"),
    ("lllite_", "ControlNet-LLLite, which reads a second picture"),
];

/// The tensors of one module, by their roles.
pub(super) type Roles = BTreeMap<Role, String>;

/// The keys of a file, sorted.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Of each module the keys of its tensors.
    pub modules: BTreeMap<String, Roles>,
    /// The first key that belongs to something else than LoRA, and what that is.
    pub other: Option<(String, &'static str)>,
    /// Keys that say nothing to us.
    pub unknown: Vec<String>,
    /// A module that names one of its tensors twice.
    pub twice: Option<String>,
}

impl Keys {
    /// Sorts the keys of `tensors`.
    pub fn of(tensors: &Tensors) -> Self {
        let mut keys = Self::default();
        for (key, _) in tensors.iter() {
            if let Some((_, what)) = OTHERS.iter().find(|(mark, _)| key.contains(mark)) {
                keys.other.get_or_insert((key.to_owned(), what));
            } else if let Some((module, role)) = parse(key) {
                let roles = keys.modules.entry(module.clone()).or_default();
                if roles.insert(role, key.to_owned()).is_some() {
                    keys.twice.get_or_insert(module);
                }
            } else {
                keys.unknown.push(key.to_owned());
            }
        }
        keys
    }
}

/// The module that a key is of, and its role there.
fn parse(key: &str) -> Option<(String, Role)> {
    let (module, role) =
        ENDS.iter().find_map(|(end, role)| Some((key.strip_suffix(end)?, *role)))?;
    // diffusers of before 2024 kept the factors beside the layers, in a processor of attention.
    let module = match module.split_once(".processor.") {
        Some((attention, "to_out")) => format!("{attention}.to_out.0"),
        Some((attention, layer)) => format!("{attention}.{layer}"),
        None => module.to_owned(),
    };
    // They called the layers of CLIP as those of the U-Net.
    let module = match module.split_once(".self_attn.to_") {
        Some((layer, "q" | "k" | "v" | "out")) => {
            module.replace(&format!("{layer}.self_attn.to_"), &format!("{layer}.self_attn."))
                + "_proj"
        }
        _ => module,
    };
    Some((module, role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_its_role() {
        for (key, module, role) in [
            ("unet.a.to_q.lora_A.weight", "unet.a.to_q", Role::Down),
            ("lora_unet_a_to_q.lora_up.weight", "lora_unet_a_to_q", Role::Up),
            ("lora_unet_a_to_q.alpha", "lora_unet_a_to_q", Role::Alpha),
            ("unet.a.processor.to_out_lora.up.weight", "unet.a.to_out.0", Role::Up),
            ("unet.a.attn1.processor.to_k_lora.down.weight", "unet.a.attn1.to_k", Role::Down),
            (
                "text_encoder.x.self_attn.to_out_lora.up.weight",
                "text_encoder.x.self_attn.out_proj",
                Role::Up,
            ),
            ("text_encoder.q.lora_linear_layer.down.weight", "text_encoder.q", Role::Down),
            ("base_model.model.x.lora_B.default.weight", "base_model.model.x", Role::Up),
        ] {
            assert_eq!(parse(key), Some((module.to_owned(), role)), "{key}");
        }
        assert_eq!(parse("unet.conv_in.weight"), None);
    }
}
