//! Pictures of the embedded world as tensors.

use burn::tensor::{Device, Tensor, TensorData};
use hyperalign_models::base::Base;
use hyperalign_rewards::emoji::{CHANNELS, Picture, SIZE, World, data};

use super::PreferredData;

/// Pictures as `[pictures, 3, height, width]` in `[-1, 1]`.
pub(crate) fn picture_tensor<'a>(
    pictures: impl ExactSizeIterator<Item = &'a Picture>,
    device: &Device,
) -> Tensor<4> {
    let shape = [pictures.len(), CHANNELS, SIZE, SIZE];
    Tensor::from_data(TensorData::new(data::batch(pictures), shape), device)
}

/// The embedded world that a base draws: the largest one all of whose words it reads.
pub fn world_of(base: &dyn Base) -> World {
    World::of_words(|word| base.cut_off(&[word.to_owned()]).is_ok())
}

/// Items of a base's training data: pictures and what is said of them, wrong captions and ugly
/// pictures included.
pub(crate) fn base_batch(
    world: World,
    seed: u64,
    indices: &[u32],
    device: &Device,
) -> (Tensor<4>, Vec<String>) {
    let items = data::collect(indices.to_vec(), |index| world.base_item(seed, index));
    let images = picture_tensor(items.iter().map(|item| &item.image), device);
    (images, items.into_iter().map(|item| item.caption).collect())
}

/// Preferred pictures: clean, correct renders of training prompts. The set is endless.
#[derive(Debug, Clone, Copy)]
pub struct EmojiPreferred {
    /// Whose prompts.
    pub world: World,
    /// Seed of the scenes.
    pub seed: u64,
}

impl PreferredData for EmojiPreferred {
    fn batch(&self, indices: &[u32], device: &Device) -> (Tensor<4>, Vec<String>) {
        let items =
            data::collect(indices.to_vec(), |index| self.world.preferred_item(self.seed, index));
        let images = picture_tensor(items.iter().map(|item| &item.image), device);
        (images, items.into_iter().map(|item| item.caption).collect())
    }
}
