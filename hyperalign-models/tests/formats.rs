//! Bases in half precision: loaded so from its files, and close to what it is in f32.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use burn::tensor::{DType, FloatDType, Tensor};
use hyperalign_core::{
    contract::{Denoiser, NoAdapter},
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
    testing,
};
use hyperalign_models::{
    base::Base,
    generate::Sampling,
    pipeline::{Flux, Formats, PipelineError, StableDiffusion},
    testing::{pictures, shaken, small_base, small_flux},
    weights::{FileFloat, Folder, LoadError},
};

/// The small base in `formats`, from its files.
fn base(formats: &str) -> StableDiffusion {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    small_base(1, &device).save(&path, FileFloat::F32).unwrap();
    let formats: Formats = formats.parse().unwrap();
    StableDiffusion::from_folder_in(&Folder::disk(path), &formats, &device).unwrap()
}

/// The small flow in `formats`, from its files.
fn flow(formats: &str) -> Result<Flux, PipelineError> {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flux");
    small_flux(true, &device).save(&path, FileFloat::F32).unwrap();
    let formats: Formats = formats.parse().unwrap();
    Flux::from_folder_in(&Folder::disk(path), &formats, &device)
}

fn picture(base: &dyn Base) -> Tensor<4> {
    pictures(base, &Sampling::new(3, 2.0), &["a red dog"], &[7], &NoAdapter).unwrap()
}

fn largest(x: Tensor<4>) -> f32 {
    x.abs().max().into_scalar()
}

#[test]
fn half_precision_makes_nearly_the_same_picture() {
    let exact = base("f32");
    let expected = picture(&exact);
    for (formats, tolerance) in [("bf16", 0.1), ("f16", 0.02), ("unet=bf16", 0.1)] {
        let half = base(formats);
        let found = picture(&half);
        assert_eq!(found.dtype(), DType::F32, "{formats}");
        let difference = largest(found - expected.clone()) / largest(expected.clone());
        assert!(difference > 0.0 && difference < tolerance, "{formats}: {difference}");
        assert_eq!(half.hash(), exact.hash(), "an adapter of the one fits the other");
    }
}

#[test]
fn weights_are_kept_in_their_format() {
    let half = base("unet=bf16,vae=f16");
    let format = |dtypes: Vec<DType>, expected| dtypes.iter().all(|dtype| *dtype == expected);
    assert!(format(dtypes(&half.unet), DType::BF16));
    assert!(format(dtypes(&half.vae), DType::F16));
    assert!(format(dtypes(&half.text_encoder), DType::F32));
}

fn dtypes<M: burn::module::Module>(module: &M) -> Vec<DType> {
    struct Visitor(Vec<DType>);
    impl burn::module::ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            self.0.push(param.val().dtype());
        }
    }
    let mut visitor = Visitor(Vec::new());
    module.visit(&mut visitor);
    visitor.0
}

#[test]
fn a_flow_in_half_precision_makes_nearly_the_same_picture() {
    let exact = flow("f32").unwrap();
    let expected = picture(&exact);
    for (formats, tolerance) in
        [("bf16", 0.1), ("f16", 0.02), ("transformer=bf16", 0.1), ("text_encoder_2=bf16", 0.1)]
    {
        let half = flow(formats).unwrap();
        let found = picture(&half);
        assert_eq!(found.dtype(), DType::F32, "{formats}");
        let difference = largest(found - expected.clone()) / largest(expected.clone());
        assert!(difference > 0.0 && difference < tolerance, "{formats}: {difference}");
        assert_eq!(half.hash(), exact.hash(), "an adapter of the one fits the other");
    }
    let mixed = flow("transformer=bf16,vae=f16,text_encoder=f16").unwrap();
    let format = |dtypes: Vec<DType>, expected| dtypes.iter().all(|dtype| *dtype == expected);
    assert!(format(dtypes(&mixed.transformer), DType::BF16));
    assert!(format(dtypes(&mixed.vae), DType::F16));
    assert!(format(dtypes(&mixed.text_encoder), DType::F16));
    assert!(format(dtypes(&mixed.text_encoder_2), DType::F32));
}

#[test]
fn a_part_of_another_pipeline_is_refused() {
    let error = flow("unet=bf16").unwrap_err();
    assert!(matches!(error, PipelineError::NoPart { part: "unet", .. }), "{error}");
    assert!(error.to_string().contains("text_encoder_2, transformer, vae"), "{error}");
}

/// What is trained stays in f32, and its gradient comes through the base in half precision.
#[test]
fn gradients_reach_the_update_through_half_precision() {
    gradients_reach_the_update(|formats| Box::new(base(formats)));
}

#[test]
fn gradients_reach_the_update_through_a_flow_in_half_precision() {
    gradients_reach_the_update(|formats| Box::new(flow(formats).unwrap()));
}

fn gradients_reach_the_update(open: impl Fn(&str) -> Box<dyn Base>) {
    let training = testing::device().autodiff();
    let gradient = |formats: &str| {
        let base = open(formats);
        let target = &base.lora_targets()[0];
        let of = |shape: [usize; 3], index| {
            let x: Tensor<4> = normal(
                [1, 1, shape[1], shape[2]],
                [Stream::new(1, Purpose::Init, 9, index)],
                &training,
            );
            x.squeeze_dim::<3>(1).require_grad()
        };
        let (down, up) = (of([1, target.d_input, 2], 0), of([1, 2, target.d_output], 1));
        let up = Some(up);
        let delta = LoraDelta { down_aux: None, down: down.clone(), up, up_aux: None, scale: 0.5 };
        let lora = LoraSet::new([(target.path.clone(), delta)]);
        let [channels, height, width] = base.latent_shape();
        let sample = normal(
            [1, channels, height, width],
            [Stream::new(3, Purpose::Start, 0, 0)],
            &testing::device(),
        );
        let conditioning = base.encode_prompts(&["a dog".to_owned()]).unwrap();
        let timesteps = Tensor::from_floats([500.0 / base.time_scale()], &testing::device());
        let output = base.predict(sample, timesteps, &conditioning, Some(&lora));
        let gradients = output.square().mean().backward();
        down.grad(&gradients).unwrap()
    };
    let (exact, half) = (gradient("f32"), gradient("bf16"));
    assert_eq!(half.dtype(), DType::F32);
    let norm = |x: Tensor<3>| -> f32 { x.square().sum().sqrt().into_scalar() };
    let error = norm(half - exact.clone()) / norm(exact);
    assert!(error < 0.1, "the gradient differs by {error}");
}

#[test]
fn a_weight_that_is_too_large_for_its_format_is_named() {
    let device = testing::device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    let mut base = small_base(1, &device);
    base.unet = shaken(base.unet, 1e6);
    base.save(&path, FileFloat::F32).unwrap();
    let folder = Folder::disk(path);
    let read = |format| StableDiffusion::from_folder_in(&folder, &Formats::all(format), &device);
    assert!(read(FloatDType::BF16).is_ok());
    let error = read(FloatDType::F16).unwrap_err();
    assert!(matches!(&error, PipelineError::Load(LoadError::NotFinite { .. })), "{error}");
    assert!(error.to_string().contains("F16"), "{error}");
}
