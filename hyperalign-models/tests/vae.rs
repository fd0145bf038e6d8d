//! What holds for every autoencoder, whatever its weights.

use burn::tensor::{Tensor, Tolerance};
use hyperalign_core::noise::{Purpose, Stream, normal};
use hyperalign_core::testing;
use hyperalign_models::{
    vae::{AutoencoderKl, AutoencoderKlConfig},
    weights::{self, FileFloat, Tensors},
};

fn config() -> AutoencoderKlConfig {
    AutoencoderKlConfig {
        block_out_channels: vec![4, 8],
        norm_num_groups: 2,
        latent_channels: 3,
        scaling_factor: 0.5,
        shift_factor: Some(0.25),
        ..AutoencoderKlConfig::default()
    }
}

fn vae(config: &AutoencoderKlConfig) -> AutoencoderKl {
    weights::reinit(config.init(&testing::device()), 3)
}

fn noise(shape: [usize; 4], index: u32) -> Tensor<4> {
    let rows = (0..shape[0]).map(|row| Stream::new(4, Purpose::Posterior, index, row as u32));
    normal([1, shape[1], shape[2], shape[3]], rows, &testing::device())
}

fn assert_close(a: Tensor<4>, b: Tensor<4>, tolerance: f32) {
    let tolerance = Tolerance::<f32>::absolute(tolerance);
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), tolerance);
}

#[test]
fn sizes() {
    let vae = vae(&config());
    let posterior = vae.encode(noise([2, 3, 8, 12], 0));
    assert_eq!(posterior.mean.dims(), [2, 3, 4, 6]);
    assert_eq!(posterior.logvar.dims(), [2, 3, 4, 6]);
    assert_eq!(vae.decode(posterior.mode()).dims(), [2, 3, 8, 12]);
    assert_eq!(config().downscale(), 2);
}

#[test]
fn a_picture_does_not_see_its_batch() {
    let vae = vae(&config());
    let pictures = noise([4, 3, 8, 8], 0);
    let latents = vae.encode(pictures.clone()).mode();
    let decoded = vae.decode(latents.clone());
    for row in 0..4 {
        let alone = vae.encode(pictures.clone().narrow(0, row, 1)).mode();
        assert_close(latents.clone().narrow(0, row, 1), alone.clone(), 1e-5);
        assert_close(decoded.clone().narrow(0, row, 1), vae.decode(alone), 1e-5);
    }
}

#[test]
fn scaling_is_undone_before_decoding() {
    let vae = vae(&config());
    let latents = noise([1, 3, 4, 4], 1);
    assert_close(vae.scale(latents.clone()), (latents.clone() - 0.25) * 0.5, 1e-6);
    assert_close(vae.unscale(vae.scale(latents.clone())), latents, 1e-6);
}

#[test]
fn the_posterior_is_a_gaussian() {
    let posterior = vae(&config()).encode(noise([2, 3, 8, 8], 2));
    let zero = posterior.mean.zeros_like();
    assert_eq!(posterior.sample(zero).into_data(), posterior.mode().into_data());
    let one = posterior.mean.ones_like();
    let variance = (posterior.sample(one) - posterior.mode()).square();
    assert_close(variance, posterior.logvar.clone().exp(), 1e-5);
    // The divergence vanishes at the standard normal, and only there.
    let zero = posterior.mean.zeros_like();
    let standard = hyperalign_models::vae::Posterior { mean: zero.clone(), logvar: zero };
    assert_eq!(standard.kl().into_data().try_to_vec::<f32>().unwrap(), [0.0, 0.0]);
    assert!(posterior.kl().min().into_scalar::<f32>() > 0.0);
}

#[test]
fn the_old_names_of_attention_load() {
    let vae = vae(&config());
    let bytes = weights::to_bytes(&vae, FileFloat::F32, &Default::default()).unwrap();
    let present = Tensors::embedded("vae", bytes.leak()).unwrap();
    let mut renamed = 0;
    let old = present.clone().rename(|key| {
        let mut old = key.to_owned();
        for (new, name) in
            [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
        {
            old = old.replace(&format!(".{new}."), &format!(".{name}."));
        }
        renamed += usize::from(old != key);
        Some(old)
    });
    assert_eq!(renamed, 16);
    let read = config().init(&testing::device()).load(&old).unwrap();
    assert_eq!(weights::hash(&read), weights::hash(&vae));
}

#[test]
fn parts_are_optional() {
    let bare = AutoencoderKlConfig {
        use_quant_conv: false,
        use_post_quant_conv: false,
        mid_block_add_attention: false,
        ..config()
    };
    let keys = weights::keys(&bare.init(&testing::device()));
    assert!(keys.iter().all(|key| !key.name.contains("quant") && !key.name.contains("attentions")));
    let vae = vae(&bare);
    let latents = vae.encode(noise([1, 3, 8, 8], 0)).mode();
    assert_eq!(vae.decode(latents).dims(), [1, 3, 8, 8]);
}

#[test]
fn the_numbers_of_stable_diffusion() {
    let vae = AutoencoderKlConfig::sd15().init(&testing::device());
    assert_eq!((weights::keys(&vae).len(), weights::parameters(&vae)), (248, 83_653_863));
}

#[test]
fn configurations_round_trip_and_name_what_is_not_implemented() {
    let text = serde_json::to_string(&config()).unwrap();
    assert_eq!(serde_json::from_str::<AutoencoderKlConfig>(&text).unwrap(), config());
    let parse = |from: &str, to: &str| {
        serde_json::from_str::<AutoencoderKlConfig>(&text.replace(from, to))
            .unwrap_err()
            .to_string()
    };
    let error = parse("silu", "relu");
    assert!(error.contains("`act_fn` is \"relu\""), "{error}");
    let error = parse("DownEncoderBlock2D", "AttnDownEncoderBlock2D");
    assert!(error.contains("down_block_types"), "{error}");
    let error = parse("\"norm_num_groups\":2", "\"norm_num_groups\":3");
    assert!(error.contains("norm_num_groups = 3"), "{error}");
}
