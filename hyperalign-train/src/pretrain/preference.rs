//! Stage 3: preference models of the embedded world, the proxy reward and the held-out one.
//!
//! A CLIP dual encoder learns from three signals at once: captions against each other, captions
//! against the same caption with one attribute wrong, and noisy preferences between two pictures
//! of one prompt, renders or the base's own. Its faults come from the noise and the gaps of its data.

use burn::{
    module::Module,
    nn::Linear,
    tensor::{
        Bool, Device, Int, Tensor, TensorData, activation::log_sigmoid, activation::log_softmax, s,
    },
};
use hyperalign_core::noise::{Purpose, Stream};
use hyperalign_models::{
    clip::{ClipModel, normalize},
    tokenizer::Tokenizer,
};
use hyperalign_rewards::emoji::{PairSet, Picture, PreferencePair, data};
use hyperalign_rewards::geneval::Task;

use super::{
    contents::{Contents, contents, contents_loss},
    places::{Places, places, places_loss},
    recipe::WORLD,
};
use crate::{
    data::{drawn::DrawnPairs, picture_tensor},
    learner::{Emit, Metric, Names, Objective, Part, Shard},
};

/// What this stage trains: the dual encoder, and two read-outs that are thrown away.
#[derive(Module, Debug)]
pub struct PreferenceModel {
    /// The dual encoder.
    pub clip: ClipModel,
    /// From the pooled state of a picture or a text to the place of every glyph: `x`, then `y`.
    pub places: Linear,
    /// From the same to what is there, and how many.
    pub contents: Linear,
}

/// The losses: captions, preferences, and what the read-outs tell.
#[derive(Debug)]
pub struct PreferenceObjective {
    /// Seed of all data.
    pub seed: u64,
    /// Which preference pairs to see: those of the proxy and of the held-out model differ.
    pub pairs: PairSet,
    /// Captioned pictures an update.
    pub captioned: usize,
    /// Preference pairs an update.
    pub preferences: usize,
    /// Pairs of the base's own pictures, and the update from which three of four pairs are these.
    pub drawn: Option<(DrawnPairs, u64)>,
    /// Weight of the read-out of places.
    pub places_weight: f64,
    /// Weight of the read-out of contents.
    pub contents_weight: f64,
    /// Turns captions into ids.
    pub tokenizer: Tokenizer,
    /// The autodiff device.
    pub device: Device,
}

impl Objective for PreferenceObjective {
    type Module = PreferenceModel;
    type Batch = ();

    fn names(&self) -> Names {
        Names {
            parts: vec!["preference"],
            metrics: vec![
                "preferences_right",
                "places",
                "text_places",
                "contents",
                "text_contents",
                "captions",
            ],
        }
    }

    fn prepare(&self, _: &PreferenceModel, _: u64) {}

    fn losses(
        &self,
        model: &PreferenceModel,
        (): &(),
        update: u64,
        shard: Shard,
        emit: &mut dyn Emit,
    ) {
        let items = self.captioned_items(update, shard);
        let pairs = self.preference_pairs(update, shard);
        let (n, m) = (items.len(), pairs.len());

        // One pass for all pictures and one for all texts.
        let pictures: Vec<&Picture> = items
            .iter()
            .map(|item| &item.image)
            .chain(pairs.iter().map(|pair| &pair.image_win))
            .chain(pairs.iter().map(|pair| &pair.image_lose))
            .collect();
        let images = picture_tensor(pictures.into_iter(), &self.device);
        let texts: Vec<&str> = items
            .iter()
            .map(|item| item.caption.as_str())
            .chain((0..WRONG).flat_map(|k| items.iter().map(move |item| item.wrong[k].as_str())))
            .chain(pairs.iter().map(|pair| pair.prompt.as_str()))
            .collect();
        let pooled = model.clip.vision(images).pooled;
        let image = normalize(model.clip.project_image(pooled.clone()));
        let text_pooled = model.clip.text(self.ids(&texts)).pooled;
        let text = normalize(model.clip.project_text(text_pooled.clone()));
        let scale = model.clip.logit_scale();

        let captions = text.clone().slice(s![0..(1 + WRONG) * n]);
        let logits =
            image.clone().slice(s![0..n]).matmul(captions.transpose()) * scale.clone().unsqueeze();
        let contrastive = contrastive_loss(logits, &items);

        let prompts = text.slice(s![(1 + WRONG) * n..]);
        let score =
            |from: usize| (image.clone().slice(s![from..from + m]) * prompts.clone()).sum_dim(1);
        let margin = (score(n) - score(n + m)) * scale.unsqueeze();
        let right = margin.clone().greater_elem(0.0).float().mean().into_scalar::<f32>();
        // Bradley & Terry 1952, as reward models are trained (Ouyang et al. 2022,
        // arXiv:2203.02155, eq. 1).
        let preference = log_sigmoid(margin).mean().neg();

        // A caption that relates two things says on average where they lie. Without this the text
        // tower stays blind to relations for thousands of updates: relation and order of the
        // things tell something together only.
        let told = |pooled: Tensor<2>| {
            let told = model.places.forward(pooled.slice(s![0..n]));
            places_loss(told, items.iter().map(|item| &item.places))
        };
        let (places, text_places) = (told(pooled.clone()), told(text_pooled.clone()));
        // The same for whose colour is whose, and for numbers.
        let told = |pooled: Tensor<2>| {
            let told = model.contents.forward(pooled.slice(s![0..n]));
            contents_loss(told, items.iter().map(|item| &item.contents))
        };
        let (contents, text_contents) = (told(pooled), told(text_pooled));
        let value = |loss: &Tensor<1>| f64::from(loss.clone().detach().into_scalar::<f32>());
        emit.metric(Metric::mean("preferences_right", f64::from(right), m));
        emit.metric(Metric::new("places", value(&places)));
        emit.metric(Metric::new("text_places", value(&text_places)));
        emit.metric(Metric::mean("contents", value(&contents), n));
        emit.metric(Metric::mean("text_contents", value(&text_contents), n));
        emit.metric(Metric::mean("captions", value(&contrastive), n));
        let loss = contrastive
            + preference
            + (places + text_places) * self.places_weight
            + (contents + text_contents) * self.contents_weight;
        emit.part(Part::new("preference", 1.0, loss));
    }
}

/// Wrong captions beside each right one.
const WRONG: usize = 2;

/// A picture with its caption, wrong captions, what it shows and where that lies.
struct Captioned {
    image: Picture,
    caption: String,
    wrong: [String; WRONG],
    places: Places,
    contents: Contents,
}

impl PreferenceObjective {
    /// The step of the world's streams that captions are drawn from.
    fn purpose(&self) -> u32 {
        match self.pairs {
            PairSet::Proxy => 11,
            PairSet::HeldOut => 12,
        }
    }

    fn captioned_items(&self, update: u64, shard: Shard) -> Vec<Captioned> {
        let first = update as u32 * self.captioned as u32;
        let rows = shard.samples(self.captioned);
        data::collect(first + rows.start as u32..first + rows.end as u32, |index| {
            let mut stream = Stream::new(self.seed, Purpose::World, self.purpose(), index);
            // Most captions ask for a relation, for two colours or for a number: the hardest to learn.
            let task = match stream.below(10) {
                0..2 => Task::Position,
                2..4 => Task::ColorAttr,
                4..6 => Task::Counting,
                _ => *stream.pick(&Task::ALL),
            };
            // Of all combinations: like the base, and like the networks that large rewards
            // were made from, it has seen the world. Its preferences are of training prompts.
            let caption = WORLD.caption(task, &mut stream);
            let caption = WORLD.colored(caption, 0.3, &mut stream);
            let scene = WORLD.scene(&caption, &mut stream);
            Captioned {
                image: Picture::render(&scene),
                wrong: std::array::from_fn(|_| WORLD.corrupt(&caption, &mut stream).to_string()),
                caption: caption.to_string(),
                places: places(&scene),
                contents: contents(&scene),
            }
        })
    }

    fn preference_pairs(&self, update: u64, shard: Shard) -> Vec<PreferencePair> {
        let first = update as u32 * self.preferences as u32;
        let rows = shard.samples(self.preferences);
        data::collect(first + rows.start as u32..first + rows.end as u32, |index| {
            match &self.drawn {
                Some((drawn, from)) if update >= *from && index % 4 != 0 => {
                    let mut stream =
                        Stream::new(self.seed, Purpose::World, self.purpose() + 2, index);
                    drawn.pair(&mut stream)
                }
                _ => WORLD.preference_pair(self.seed, index, self.pairs),
            }
        })
    }

    fn ids(&self, texts: &[&str]) -> Tensor<2, Int> {
        self.tokenizer.encode(texts).expect("the world's own words").to_tensor(&self.device)
    }
}

/// Cross entropy of picture to text over all captions and the wrong ones, and of text to picture
/// (Radford et al. 2021, arXiv:2103.00020, figure 3; wrong captions as in Yuksekgonul et al.
/// 2023, arXiv:2210.01936).
///
/// # Shapes
///
/// - `logits`: `[pictures, (1 + WRONG) * pictures]`, the right captions first
fn contrastive_loss(logits: Tensor<2>, items: &[Captioned]) -> Tensor<1> {
    let n = items.len();
    let columns = (1 + WRONG) * n;
    let device = logits.device();
    // Two pictures with the same caption are no negatives of each other.
    let same = |row: usize, column: usize| {
        let text = match column / n {
            0 => &items[column].caption,
            k => &items[column % n].wrong[k - 1],
        };
        row != column && items[row].caption == *text
    };
    let mask: Vec<bool> = (0..n)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(r, c)| same(r, c))
        .collect();
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [n, columns]), &device);
    let logits = logits.mask_fill(mask, -1e4);
    let diagonal = |log_probs: Tensor<2>| {
        let eye = Tensor::<2>::eye(n, &device);
        (log_probs.slice(s![.., 0..n]) * eye).sum() / n as f64
    };
    let to_text = diagonal(log_softmax(logits.clone(), 1));
    let to_image = diagonal(log_softmax(logits.slice(s![.., 0..n]), 0));
    (to_text + to_image).neg() * 0.5
}
