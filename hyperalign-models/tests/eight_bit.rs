//! Bases whose matrices are held in 8 bits: loaded so from their files, close to what they are in
//! f32, and never written.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes helpers outside of `#[test]` functions for the program"
)]

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, FloatDType, Tensor},
};
use hyperalign_core::{
    contract::Conditioning,
    fuzz::{Counting, peak_of},
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream, normal},
    quantized::is_quantized,
    testing,
};
use hyperalign_models::{
    base::Base,
    embedded,
    pipeline::{self, Beside, Flux, Formats, PipelineError, StableDiffusion},
    testing::{small_base, small_flux},
    weights::{FileFloat, Folder, Format},
};

/// Tells what reading a base takes.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BASES: [&str; 2] = ["emoji-sd", "emoji-flux"];

fn open(name: &str, formats: &str) -> Box<dyn Base> {
    let (folder, device) = (embedded::folder(name).unwrap(), testing::device());
    let formats: Formats = formats.parse().unwrap();
    pipeline::open_in(&folder, Some(name), Beside::default(), &formats, &device).unwrap()
}

/// A sample, a time and a prompt of `base`.
fn question(base: &dyn Base) -> (Tensor<4>, Tensor<1>, Conditioning) {
    let [channels, height, width] = base.latent_shape();
    let stream = Stream::new(3, Purpose::Start, 0, 0);
    let sample = normal([1, channels, height, width], [stream], &testing::device());
    let time = Tensor::from_floats([500.0 / base.time_scale()], &testing::device());
    (sample, time, base.encode_prompts(&["a red heart".to_owned()]).unwrap())
}

fn output(base: &dyn Base, lora: Option<&LoraSet>) -> Tensor<4> {
    let (sample, time, conditioning) = question(base);
    base.predict(sample, time, &conditioning, lora)
}

/// The root of the mean square of `found - exact`, as a share of that of `exact`.
fn error<const D: usize>(found: Tensor<D>, exact: Tensor<D>) -> f32 {
    let size = |x: Tensor<D>| x.square().mean().sqrt().into_scalar::<f32>();
    size(found - exact.clone()) / size(exact)
}

/// A random update of rank 2 of the first layer that is adapted.
fn factors(base: &dyn Base) -> [Tensor<3>; 2] {
    let target = &base.lora_targets()[0];
    [[target.d_input, 2], [2, target.d_output]].map(|[rows, columns]| {
        let stream = Stream::new(1, Purpose::Init, 9, rows as u32);
        let x: Tensor<4> = normal([1, 1, rows, columns], [stream], &testing::device());
        x.squeeze_dim(1)
    })
}

fn update(base: &dyn Base, [down, up]: [Tensor<3>; 2]) -> LoraSet {
    let delta = LoraDelta { down_aux: None, down, up: Some(up), up_aux: None, scale: 0.1 };
    LoraSet::new([(base.lora_targets()[0].path.clone(), delta)])
}

/// Rounding to the nearest of 255 steps is off by about half a percent of a weight, and the errors of
/// many weights cancel; bf16 adds more than that.
#[test]
fn the_output_is_close_to_that_of_f32() {
    for name in BASES {
        let exact = open(name, "f32");
        let expected = output(exact.as_ref(), None);
        for (format, tolerance) in [("q8-f32", 0.01), ("q8", 0.025)] {
            let eight = open(name, format);
            let found = output(eight.as_ref(), None);
            assert_eq!(found.dtype(), DType::F32, "{name} {format}");
            let error = error(found, expected.clone());
            println!("{name} in {format}: the output differs by {error}");
            assert!(error > 1e-4 && error < tolerance, "{name} in {format}: {error}");
            assert_eq!(eight.hash(), exact.hash(), "an adapter of the one fits the other");
        }
    }
}

/// An update is added to what comes out of a layer: 8 bits round the layer and not the update.
#[test]
fn an_update_does_what_it_does_in_f32() {
    for name in BASES {
        let moved = |format: &str| {
            let base = open(name, format);
            let lora = update(base.as_ref(), factors(base.as_ref()));
            output(base.as_ref(), Some(&lora)) - output(base.as_ref(), None)
        };
        let exact = moved("f32");
        assert!(exact.clone().abs().max().into_scalar::<f32>() > 1e-3);
        let error = error(moved("q8-f32"), exact);
        assert!(error < 0.1, "{name}: {error}");
    }
}

#[test]
fn gradients_reach_the_update_through_8_bits() {
    for name in BASES {
        let gradient = |format: &str| {
            let base = open(name, format);
            let [down, up] = factors(base.as_ref());
            let [down, up] = [down, up].map(|x| x.autodiff().require_grad());
            let lora = update(base.as_ref(), [down.clone(), up.clone()]);
            let gradients = output(base.as_ref(), Some(&lora)).square().mean().backward();
            [down, up].map(|factor| factor.grad(&gradients).unwrap())
        };
        for format in ["q8-f32", "q8"] {
            for (found, exact) in gradient(format).into_iter().zip(gradient("f32")) {
                assert_eq!(found.dtype(), DType::F32);
                let error = error(found, exact);
                assert!(error < 0.15, "{name} in {format}: the gradient differs by {error}");
            }
        }
    }
}

/// The key of every parameter, and the format that it is in.
fn formats<M: Module>(module: &M) -> Vec<(String, DType)> {
    struct Visitor(Vec<String>, Vec<(String, DType)>);
    impl ModuleVisitor for Visitor {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let param = param.val();
            let kind = if is_quantized(&param) { DType::I8 } else { param.dtype() };
            self.1.push((self.0.join("."), kind));
        }
    }
    let mut visitor = Visitor(Vec::new(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

#[test]
fn matrices_of_blocks_are_in_8_bits_and_nothing_else() {
    let (folder, device) = (embedded::folder("emoji-flux").unwrap(), testing::device());
    let all = Formats::all("q8".parse::<Format>().unwrap());
    let flux = Flux::from_folder_in(&folder, &all, &device).unwrap();
    let transformer = formats(&flux.transformer);
    let expected = |key: &str| {
        let is_matrix = key.ends_with(".weight")
            && !key.contains("norm_q")
            && !key.contains("norm_k")
            && !key.contains("norm_added");
        if key.contains("transformer_blocks.") && is_matrix { DType::I8 } else { DType::BF16 }
    };
    for (key, found) in &transformer {
        assert_eq!(*found, expected(key), "{key}");
    }
    let eight = |formats: &[(String, DType)]| {
        formats.iter().filter(|(_, format)| *format == DType::I8).count()
    };
    // Queries, keys, values, outputs and two of the feed-forward network, in each of two layers of
    // T5; the tables of tokens and of distances are not among them.
    let t5 = formats(&flux.text_encoder_2);
    assert_eq!(eight(&t5), 2 * 7, "{t5:?}");
    assert_eq!(eight(&formats(&flux.text_encoder)), 6);
    assert_eq!(eight(&formats(&flux.vae)), 0);

    let folder = embedded::folder("emoji-sd").unwrap();
    let parts: Formats = "unet=q8-f32,vae=f16".parse().unwrap();
    let base = StableDiffusion::from_folder_in(&folder, &parts, &device).unwrap();
    let unet = formats(&base.unet);
    for (key, found) in &unet {
        assert!(key.contains("transformer_blocks.") || *found == DType::F32, "{key}: {found:?}");
    }
    assert!(eight(&unet) >= 10, "{unet:?}");
    assert_eq!(eight(&formats(&base.text_encoder)), 0, "it was not asked for");
}

/// A matrix is read, rounded and let go of before the next: on the way there is never more than the
/// base in 8 bits and the copies of one matrix.
#[test]
fn reading_takes_what_is_held_and_one_matrix() {
    let (folder, device) = (embedded::folder("emoji-flux").unwrap(), testing::device());
    let format: Format = "q8-f32".parse().unwrap();
    let read = || Flux::from_folder_in(&folder, &Formats::all(format), &device).unwrap();
    let (flux, peak) = peak_of(read);
    let held = [
        format.held(&flux.transformer),
        format.held(&flux.text_encoder),
        format.held(&flux.text_encoder_2),
        format.held(&flux.vae),
    ];
    let bytes: usize = held.iter().map(|held| held.bytes).sum();
    let largest = held.iter().map(|held| held.largest_matrix).max().unwrap();
    let f32 = Format::Float(FloatDType::F32).held(&flux.transformer).bytes;
    println!("read in {peak} bytes, held in {bytes}, {largest} in a matrix, {f32} in f32");
    // The file's values and their transpose, in f32, and the numbers in 8 bits.
    let copies = largest * (4 + 4 + 2);
    // Beside the weights: names, vocabularies, configurations; and the CPU backend keeps scales twice.
    let beside = (1 << 20) + bytes / 8;
    assert!(peak < bytes + copies + beside, "{peak}");
    assert!(peak < f32, "{peak}");
}

/// The smallest bases have hardly a matrix with blocks of outputs; they are read all the same.
#[test]
fn small_bases_are_read_too() {
    let (device, folder) = (testing::device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("flux");
    small_flux(true, &device).save(&path, FileFloat::F32).unwrap();
    let all: Formats = "q8-f32".parse().unwrap();
    let flux = Flux::from_folder_in(&Folder::disk(&path), &all, &device).unwrap();
    let exact = Flux::from_folder_in(&Folder::disk(&path), &Formats::default(), &device).unwrap();
    assert_eq!(flux.hash(), exact.hash());
    let path = folder.path().join("sd");
    small_base(1, &device).save(&path, FileFloat::F32).unwrap();
    StableDiffusion::from_folder_in(&Folder::disk(&path), &all, &device).unwrap();
}

/// Rounded weights would be taken for the model, and an update is for whole ones.
#[test]
fn a_base_in_8_bits_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, part) in [("emoji-sd", "unet"), ("emoji-flux", "transformer")] {
        let base = open(name, &format!("{part}=q8-f32"));
        let path = folder.path().join(name);
        let lora = update(base.as_ref(), factors(base.as_ref()));
        let error = base.save_changed(&lora, &path).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("without q8 in `--dtype`"), "{error}");
        assert!(!path.exists(), "nothing is left behind");
    }
    let device = testing::device();
    let eight: Formats = "text_encoder=q8".parse().unwrap();
    let source = embedded::folder("emoji-sd").unwrap();
    let base = StableDiffusion::from_folder_in(&source, &eight, &device).unwrap();
    let error = base.save(&folder.path().join("x"), FileFloat::F32).unwrap_err();
    assert!(matches!(error, PipelineError::EightBit { part: "text_encoder" }), "{error}");
    assert_eq!(Formats::all(FloatDType::F32).to_string(), "f32");
}
