//! A base with LoRA files laid over it.

use std::{cell::RefCell, path::PathBuf, sync::Arc};

use burn::tensor::Tensor;
use hyperalign_core::{
    contract::StaticAdapter,
    lora::{LoraDelta, LoraSet},
    noise::{Purpose, Stream},
    stop::Stop,
    testing::{self, distance},
};
use hyperalign_models::{
    base::{Base, Identity},
    generate::{
        Adapted, AdapterFile, Dose, GenerateError, Generation, Job, Meter, Plain, Sampling, Shot,
        Way, generate,
    },
    hypernet::{AdapterKind, AdapterMeta, HypernetConfig, StaticLoraConfig, Variant},
    lora::{Convention, LoraError, LoraFile, Overlaid, Part, bake, mean_of},
    testing::{shaken, small_base, small_flux},
};

use super::{random, tensor};

const SAMPLING: Sampling = Sampling::new(3, 2.0);

fn base() -> Arc<dyn Base> {
    Arc::new(small_base(1, &testing::device()))
}

fn pictures(base: &dyn Base, way: &dyn Way) -> Tensor<4> {
    let shots = [Shot::new("a red dog", 5), Shot::new("a blue heart", 6)];
    let meter = Meter::default();
    let job = Job { base, sampling: &SAMPLING, shots: &shots, decoder: None, meter: &meter };
    let mut all = Vec::new();
    let each = &mut |_: &[Shot], batch: hyperalign_models::generate::Batch| {
        all.push(batch.images);
        Ok::<_, GenerateError>(())
    };
    assert!(generate(way, &job, &Stop::default(), each).unwrap());
    Tensor::cat(all, 0)
}

/// A folder with two LoRAs for `base`, of its network and of its text encoder.
fn files(base: &dyn Base) -> (tempfile::TempDir, [PathBuf; 2]) {
    let layers = base.lora_layers().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let paths = ["net.safetensors", "text.safetensors"].map(|name| folder.path().join(name));
    let net = random(&layers, &[Part::Denoiser], 0.2, 3);
    net.write(&paths[0], &layers, Convention::Kohya).unwrap();
    let text = random(&layers, &[Part::TextEncoder, Part::TextEncoder2], 0.4, 4);
    text.write(&paths[1], &layers, Convention::Peft).unwrap();
    (folder, paths)
}

fn hypernet_meta(base: &dyn Base) -> AdapterMeta {
    let config = HypernetConfig {
        width: 8,
        layers: 1,
        heads: 2,
        ..HypernetConfig::new(base.lora_targets(), base.feature_dim(None), base.context_dim())
    };
    AdapterMeta::new(base.name(), base.hash(), Variant::S, AdapterKind::Hypernet(config))
}

/// What guidance does and where the picture looks is told through it, and where words are: methods
/// that search and guide need not know either.
#[test]
fn without_files_it_answers_as_the_bare_base() {
    let device = testing::device();
    for bare in [base(), Arc::new(small_flux(false, &device)) as Arc<dyn Base>] {
        let over = Overlaid::new(bare.clone(), &[], &device).unwrap();
        let prompts = ["a red dog".to_owned()];
        let told = |base: &dyn Base| {
            let generation = Generation::new(base, &SAMPLING, &prompts).unwrap();
            let sampler = generation.sampler();
            let start = sampler.start(generation.noise([Stream::new(5, Purpose::Start, 0, 0)]));
            let maps = RefCell::new(Vec::new());
            let watch = |map: Tensor<4>| maps.borrow_mut().push(map);
            let look = sampler.look_with(&start, None, Some(&watch));
            let difference = look.correction.expect("it is guided").difference;
            let maps = maps.into_inner();
            assert!(sampler.shows_text() && !maps.is_empty());
            [vec![look.model_output, difference], maps].concat()
        };
        let (a, b) = (told(bare.as_ref()), told(&over));
        assert_eq!(a.len(), b.len());
        for (a, b) in a.into_iter().zip(b) {
            a.into_data().assert_eq(&b.into_data(), true);
        }
        let places = |base: &dyn Base| base.token_places("a red ", "a red dog");
        assert!(!places(&over).is_empty());
        assert_eq!(places(&over), places(bare.as_ref()));
    }
}

#[test]
fn files_and_a_hypernetwork_add_up_in_any_order() {
    let bare = base();
    let (_folder, [net, text]) = files(bare.as_ref());
    let over = |files: &[(PathBuf, f64)]| Overlaid::new(base(), files, &testing::device()).unwrap();
    let both = over(&[(net.clone(), 1.0), (text.clone(), 0.5)]);
    let turned = over(&[(text.clone(), 0.5), (net.clone(), 1.0)]);
    assert_eq!(both.hash(), turned.hash());
    assert_ne!(both.hash(), bare.hash());
    assert_eq!(both.weights_hash(), bare.hash());
    assert_eq!(both.laid().len(), 2);
    let (a, b) = (pictures(&both, &Plain), pictures(&turned, &Plain));
    a.to_data().assert_eq(&b.into_data(), true);

    // Each has a part in it, and its strength too.
    let plain = pictures(bare.as_ref(), &Plain);
    for files in [
        vec![],
        vec![(net.clone(), 1.0)],
        vec![(text.clone(), 0.5)],
        vec![(net.clone(), 0.9), (text.clone(), 0.5)],
        vec![(net.clone(), 1.0), (text.clone(), 0.6)],
    ] {
        let other = pictures(&over(&files), &Plain);
        assert!(distance(a.clone(), other.clone()) > 1e-5, "{files:?}");
        assert_eq!(distance(plain.clone(), other) > 1e-5, !files.is_empty());
    }

    // With a hypernetwork, both are in the network at once.
    let adapter = shaken(hypernet_meta(bare.as_ref()).init(3, &testing::device()).unwrap(), 0.3);
    let adapted = Adapted {
        adapter: &adapter,
        variant: Variant::S,
        key_steps: Vec::new(),
        dose: Dose::default(),
    };
    let all = pictures(&both, &adapted);
    assert!(distance(all.clone(), a) > 1e-5);
    assert!(distance(all.clone(), pictures(bare.as_ref(), &adapted)) > 1e-5);
    pictures(&turned, &adapted).into_data().assert_eq(&all.into_data(), true);
}

/// The update of a file is that of the same update passed by hand, whatever guides the base.
#[test]
fn a_file_is_the_update_that_it_holds() {
    let device = testing::device();
    for base in [
        Arc::new(small_base(1, &device)) as Arc<dyn Base>,
        Arc::new(small_flux(true, &device)),
        Arc::new(small_flux(false, &device)),
    ] {
        let layers = base.lora_layers().unwrap();
        let (_folder, [net, _]) = files(base.as_ref());
        let file = LoraFile::open(&net, &layers, &device).unwrap();
        let by_hand = StaticAdapter(file.set(&layers, Part::Denoiser, 0.7, &device));
        let over = Overlaid::new(base.clone(), &[(net, 0.7)], &testing::device()).unwrap();
        let found = pictures(&over, &Plain);
        let prompts = ["a red dog".to_owned(), "a blue heart".to_owned()];
        let generation = Generation::new(base.as_ref(), &SAMPLING, &prompts).unwrap();
        let end = generation.run(&by_hand, &[5, 6], &mut hyperalign_core::sampler::unobserved);
        let expected = base.decode(end.sample).clamp(-1.0, 1.0);
        assert!(distance(found, expected) < 1e-5);
    }
}

#[test]
fn adapters_of_the_bare_base_and_of_this_one_fit() {
    let device = testing::device();
    let bare = base();
    let (folder, [net, _]) = files(bare.as_ref());
    let over = Overlaid::new(base(), &[(net, 1.0)], &testing::device()).unwrap();
    let path = folder.path().join("adapter.safetensors");
    for trained_on in [bare.as_ref(), &over as &dyn Base] {
        let meta =
            AdapterMeta { base_hash: trained_on.hash().to_owned(), ..hypernet_meta(bare.as_ref()) };
        meta.init(1, &device).unwrap().save(&path, &meta).unwrap();
        AdapterFile::open(&path, &over, &device).unwrap();
        // On the bare base, the update of what it was trained with is missing.
        let on_bare = AdapterFile::open(&path, bare.as_ref(), &device);
        assert_eq!(on_bare.is_ok(), trained_on.hash() == bare.hash());
    }
}

#[test]
fn a_static_lora_of_ours_is_a_file_like_others() {
    let device = testing::device();
    let base = base();
    let layers = base.lora_layers().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let lora = StaticLoraConfig { rank: 2, alpha: 3.0, targets: base.lora_targets() };
    let meta =
        AdapterMeta::new(base.name(), base.hash(), Variant::S, AdapterKind::StaticLora(lora));
    let adapter = shaken(meta.init(1, &device).unwrap(), 0.3);
    adapter.save(&path, &meta).unwrap();
    let expected = pictures(
        base.as_ref(),
        &Adapted {
            adapter: &adapter,
            variant: Variant::S,
            key_steps: Vec::new(),
            dose: Dose::default(),
        },
    );
    let over = |path: &PathBuf| {
        Overlaid::new(self::base(), &[(path.clone(), 1.0)], &testing::device()).unwrap()
    };
    assert!(distance(pictures(&over(&path), &Plain), expected.clone()) < 1e-5);
    // The same in the conventions of others.
    let file = LoraFile::open(&path, &layers, &device).unwrap();
    for convention in [Convention::Peft, Convention::Kohya, Convention::Bfl] {
        let other = folder.path().join("other.safetensors");
        file.write(&other, &layers, convention).unwrap();
        assert!(distance(pictures(&over(&other), &Plain), expected.clone()) < 1e-5);
    }
    // It says which base it is for, which files of others do not.
    let elsewhere = Arc::new(small_base(2, &device));
    let error = Overlaid::new(elsewhere, &[(path.clone(), 1.0)], &testing::device())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("was trained on the base"), "{error}");
    let meta = hypernet_meta(base.as_ref());
    meta.init(1, &device).unwrap().save(&path, &meta).unwrap();
    let error = Overlaid::new(self::base(), &[(path, 1.0)], &testing::device()).err().unwrap();
    assert!(matches!(error, LoraError::Hypernet { .. }), "{error}");
}

/// At the initial noise, a baked file is HyperAlign-I; of one update, the mean is itself.
#[test]
fn a_baked_update_is_the_emitted_one() {
    let device = testing::device();
    let base = base();
    let layers = base.lora_layers().unwrap();
    let adapter = shaken(hypernet_meta(base.as_ref()).init(3, &device).unwrap(), 0.3);
    let prompts = ["a red dog".to_owned()];
    let generation = Generation::new(base.as_ref(), &SAMPLING, &prompts).unwrap();
    let updates = |variant| {
        let source = adapter.source(base.as_ref(), variant, Vec::new());
        let mut sets: Vec<LoraSet> = Vec::new();
        generation.run(source.as_ref(), &[5], &mut |state| {
            sets.extend(state.lora.cloned());
            std::ops::ControlFlow::Continue(())
        });
        sets
    };
    // One evaluation: a trajectory would enlarge what rounding makes of other products.
    let predict = |lora: Option<&LoraSet>| {
        let timesteps = Tensor::from_data([700.0f32], &device);
        base.predict(tensor([1, 2, 4, 4], 8), timesteps, generation.conditioning(), lora)
    };
    let of_file = |file: &LoraFile| predict(Some(&file.set(&layers, Part::Denoiser, 1.0, &device)));
    let of_i = updates(Variant::I);
    let expected = predict(Some(&of_i[0]));
    let size: f32 = expected.clone().abs().max().into_scalar();
    assert!(distance(predict(None), expected.clone()) > 0.05 * size);
    let is_it = |found: Tensor<4>, expected: &Tensor<4>| {
        let apart = distance(found, expected.clone());
        assert!(apart < 1e-4 * size, "{apart} of {size}");
    };
    let baked = bake("baked", &of_i[0], 0, &layers);
    assert!(baked.updates.values().all(|update| update.rank() == 4));
    is_it(of_file(&baked), &expected);
    // All updates of I are one, so their mean is too, and nothing is lost by its rank.
    let mean = mean_of("mean", &of_i, 4, &layers);
    assert!(mean.error < 1e-5, "{}", mean.error);
    is_it(of_file(&mean.file), &expected);
    // Those of S differ: a mean of rank 2 loses some of them, and one of 12 nothing.
    let of_s = updates(Variant::S);
    assert_eq!(of_s.len(), 3);
    let [cut, whole] = [2, 12].map(|rank| mean_of("mean", &of_s, rank, &layers));
    assert!(cut.error > 1e-4 && whole.error < 1e-5, "{} {}", cut.error, whole.error);
    let all = of_s.iter().flat_map(LoraSet::iter);
    let third = LoraSet::new(all.map(|(path, delta)| {
        let delta = LoraDelta { scale: delta.scale / 3.0, ..delta.clone() };
        (path.to_owned(), delta)
    }));
    is_it(of_file(&whole.file), &predict(Some(&third)));
}
