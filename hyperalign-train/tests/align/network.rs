//! Choices of the network.

use hyperalign_core::testing;
use std::sync::Arc;

use hyperalign_models::{
    hypernet::{AdapterKind, AdapterMeta},
    testing::{small_base, small_flux},
};
use hyperalign_train::{
    align::{NetworkSettings, TextStream, align},
    learner::Run,
};

use crate::toy::{materials_of, settings};

/// Steps of training are those of one evaluation; a base may be sampled with any solver.
#[test]
fn a_base_whose_solver_looks_twice_is_refused() {
    let mut base = small_base(1, &testing::device());
    base.scheduler_config.class_name = "HeunDiscreteScheduler".to_owned();
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path(), "");
    let error = align(&materials_of(Arc::new(base)), &settings(), &[], &run).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(", heun, evaluates the network twice"), "{message}");
    assert!(message.contains("DDIMScheduler"), "{message}");
}

#[test]
fn an_encoder_of_a_u_net_may_end_sooner() {
    let materials = materials_of(Arc::new(small_base(1, &testing::device())));
    let with = |depth| {
        let mut settings = settings();
        settings.training.updates = 2;
        if let NetworkSettings::Hypernet { encoder_depth, .. } = &mut settings.network {
            *encoder_depth = depth;
        }
        let dir = tempfile::tempdir().unwrap();
        align(&materials, &settings, &[], &Run::new(dir.path(), "")).map(|aligned| aligned.meta)
    };
    let depths = hyperalign_models::hypernet::Perception::depths(materials.base.as_ref());
    for depth in 1..=depths {
        let meta = with(Some(depth)).unwrap();
        let AdapterKind::Hypernet(config) = meta.network else { panic!("not a hypernetwork") };
        assert_eq!(config.encoder_depth, Some(depth));
        assert_eq!(config.feature_dim, materials.base.feature_dim(Some(depth)));
    }
    let error = with(Some(depths + 1)).unwrap_err().to_string();
    assert!(error.contains(&format!("has {depths} blocks")), "{error}");
}

#[test]
fn the_encoder_and_the_text_stream_of_a_flow_are_a_choice() {
    let materials = materials_of(Arc::new(small_flux(true, &testing::device())));
    let with = |depth, stream| {
        let mut settings = settings();
        settings.training.updates = 2;
        if let NetworkSettings::Hypernet { encoder_depth, text_stream, .. } = &mut settings.network
        {
            (*encoder_depth, *text_stream) = (depth, stream);
        }
        let dir = tempfile::tempdir().unwrap();
        align(&materials, &settings, &[], &Run::new(dir.path(), "")).map(|aligned| aligned.meta)
    };
    let targets = |meta: &AdapterMeta| match &meta.network {
        AdapterKind::Hypernet(config) => config.targets.len(),
        AdapterKind::StaticLora(config) => config.targets.len(),
        AdapterKind::FullWeights(config) => config.targets.len(),
    };
    let default = with(None, TextStream::Frozen).unwrap();
    assert_eq!((default.encoder_depth(), targets(&default)), (None, 2 * 4 + 3));
    let other = with(Some(1), TextStream::Adapted).unwrap();
    assert_eq!((other.encoder_depth(), targets(&other)), (Some(1), 2 * 8 + 3));
    let error = with(Some(3), TextStream::Frozen).unwrap_err().to_string();
    assert!(error.contains("has 2 blocks"), "{error}");
}
