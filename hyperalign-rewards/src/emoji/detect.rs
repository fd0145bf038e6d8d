//! An exact detector of the world's glyphs, by matching templates. Nothing in it is learned.
//!
//! With the background b (the median of the border), the picture's difference x = I - b and the
//! difference that a sprite would make, t = P - A b (P its colour times coverage, A its
//! coverage), a place is scored by
//!
//! s = 2 <x, t> / (|x|² + |t|²) over the sprite's box,
//!
//! which is 1 only where the box holds exactly the sprite, falls for a wrong shape, a wrong
//! colour or a wrong contrast alike, and is at most 1 - |x - t|² / (|x|² + |t|²). All sprites are
//! tried at all places, not only on the grid that renders use: pictures of networks know no grid.
//!
//! To be quick it looks twice: everywhere on the picture of half the size, with a low threshold,
//! then at full size in a small window about what it found.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::{CHANNELS, Picture, SIZE, Sprite, sprite};
use crate::geneval::{BoundingBox, Detection};

/// A place scores at least this at full size.
const THRESHOLD: f32 = 0.62;
/// A place of the half-size picture is looked at again from this score on. Sprites at odd pixels
/// fall between the half-size pixels and lose up to .23 there (the football).
const COARSE_THRESHOLD: f32 = 0.4;
/// Two finds are one thing if they share more than this of the smaller box.
const MAX_OVERLAP: f32 = 0.24;
/// How far from twice the coarse place the fine place is looked for, in pixels: with it a find
/// is the best of its 5 by 5 neighbours.
const REACH: usize = 2;

const HALF: usize = SIZE / 2;
/// Places along a row that are scored together; the largest number that there is, rounded up to
/// whole vector registers.
const LANES: usize = 24;
/// Row length of the half-size picture: the last place of a row reads this far.
const STRIDE: usize = 36;

/// Finds the glyphs in a picture, the surest first.
pub fn detect(image: &Picture) -> Vec<Detection> {
    let background = background(image);
    let full = Difference::of(image, background);
    let half = HalfDifference::of(&full);
    let mut finds: Vec<Find> = templates()
        .iter()
        .flat_map(|template| {
            let places = half.places(template, background);
            let fine = Fine::new(template, background, !places.is_empty());
            let best = places.into_iter().map(|place| full.best_near(place, &fine));
            best.filter(|find| find.score >= THRESHOLD).collect::<Vec<_>>()
        })
        .collect();
    finds.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Find> = Vec::new();
    for find in finds {
        if kept.iter().all(|other| overlap(&find, other) <= MAX_OVERLAP) {
            kept.push(find);
        }
    }
    kept.iter().map(Find::detection).collect()
}

/// [`detect`] for many pictures, on all cores.
pub fn detect_batch(images: &[Picture]) -> Vec<Vec<Detection>> {
    images.par_iter().map(detect).collect()
}

/// The median of the outermost two pixels, by channel.
fn background(image: &Picture) -> [f32; CHANNELS] {
    const BORDER: usize = 2;
    let inside = BORDER..SIZE - BORDER;
    std::array::from_fn(|channel| {
        let plane = &image.pixels[channel * SIZE * SIZE..][..SIZE * SIZE];
        let mut border: Vec<f32> = (0..SIZE * SIZE)
            .filter(|k| !(inside.contains(&(k / SIZE)) && inside.contains(&(k % SIZE))))
            .map(|k| plane[k])
            .collect();
        let middle = border.len() / 2;
        *border.select_nth_unstable_by(middle, f32::total_cmp).1
    })
}

/// A sprite and its half-size version.
struct Template {
    sprite: &'static Sprite,
    half_size: usize,
    half_color: Vec<f32>,
    half_alpha: Vec<f32>,
}

fn templates() -> &'static [Template] {
    static TEMPLATES: OnceLock<Vec<Template>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let template = |sprite: &'static Sprite| Template {
            sprite,
            half_size: sprite.size / 2,
            half_color: halve(&sprite.color, sprite.size),
            half_alpha: halve(&sprite.alpha, sprite.size),
        };
        sprite::all().iter().map(template).collect()
    })
}

/// Averages over squares of two by two pixels, of planes with the given even edge.
fn halve(planes: &[f32], edge: usize) -> Vec<f32> {
    let half = edge / 2;
    let rows = planes.len() / edge / 2;
    let pixel = |k: usize| {
        let at = 2 * (k / half) * edge + 2 * (k % half);
        (planes[at] + planes[at + 1] + planes[at + edge] + planes[at + edge + 1]) / 4.0
    };
    (0..rows * half).map(pixel).collect()
}

/// t = P - A b, plane by plane.
fn expected(color: &[f32], alpha: &[f32], background: [f32; CHANNELS]) -> Vec<f32> {
    let planes = color.chunks_exact(alpha.len()).zip(background);
    planes.flat_map(|(plane, b)| plane.iter().zip(alpha).map(move |(p, a)| p - a * b)).collect()
}

fn square_sum(values: &[f32]) -> f32 {
    values.iter().map(|v| v * v).sum()
}

/// Sums over boxes in four look-ups (Crow 1984, "Summed-area tables for texture mapping").
struct BoxSums {
    sums: Vec<f64>,
    row: usize,
}

impl BoxSums {
    /// Sums of `value(x, y)` on a square of the given edge.
    fn new(edge: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let row = edge + 1;
        let mut sums = vec![0.0; row * row];
        for y in 0..edge {
            let mut line = 0.0;
            for x in 0..edge {
                line += f64::from(value(x, y));
                sums[(y + 1) * row + x + 1] = sums[y * row + x + 1] + line;
            }
        }
        Self { sums, row }
    }

    fn of(&self, x: usize, y: usize, edge: usize) -> f32 {
        let at = |x: usize, y: usize| self.sums[y * self.row + x];
        (at(x + edge, y + edge) - at(x, y + edge) - at(x + edge, y) + at(x, y)) as f32
    }
}

/// x = I - b at full size, `[3, SIZE, SIZE]`.
struct Difference {
    pixels: Vec<f32>,
    energy: BoxSums,
}

impl Difference {
    fn of(image: &Picture, background: [f32; CHANNELS]) -> Self {
        let planes = image.pixels.chunks_exact(SIZE * SIZE).zip(background);
        let pixels: Vec<f32> =
            planes.flat_map(|(plane, b)| plane.iter().map(move |v| v - b)).collect();
        let energy = BoxSums::new(SIZE, |x, y| {
            (0..CHANNELS).map(|c| pixels[(c * SIZE + y) * SIZE + x].powi(2)).sum()
        });
        Self { pixels, energy }
    }

    /// The best place for a sprite near `place` (left and top, in full-size pixels).
    fn best_near(&self, place: [usize; 2], fine: &Fine) -> Find {
        let size = fine.sprite.size;
        let [xs, ys] = place.map(|p| p.saturating_sub(REACH)..=(p + REACH).min(SIZE - size));
        let places = ys.flat_map(|y| xs.clone().map(move |x| (x, y)));
        let finds = places.map(|(x, y)| {
            let score = 2.0 * self.dot(x, y, fine) / (self.energy.of(x, y, size) + fine.energy);
            Find { sprite: fine.sprite, x, y, score }
        });
        finds.max_by(|a, b| a.score.total_cmp(&b.score)).expect("the window holds `place`")
    }

    fn dot(&self, x: usize, y: usize, fine: &Fine) -> f32 {
        let size = fine.sprite.size;
        let rows = fine.pixels.chunks_exact(size).enumerate();
        rows.map(|(k, expected)| {
            let at = (k / size * SIZE + y + k % size) * SIZE + x;
            // Eight running sums, so that the compiler may use vector registers.
            let mut sums = [0.0; 8];
            let found = &self.pixels[at..at + size];
            for (a, b) in found.chunks(8).zip(expected.chunks(8)) {
                for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += a * b;
                }
            }
            sums.iter().sum::<f32>()
        })
        .sum()
    }
}

/// A template at full size, on a picture's background.
struct Fine {
    sprite: &'static Sprite,
    pixels: Vec<f32>,
    energy: f32,
}

impl Fine {
    /// Left empty where it is not `needed`.
    fn new(template: &Template, background: [f32; CHANNELS], needed: bool) -> Self {
        let sprite = template.sprite;
        let pixels =
            if needed { expected(&sprite.color, &sprite.alpha, background) } else { Vec::new() };
        Self { sprite, energy: square_sum(&pixels), pixels }
    }
}

/// x = I - b at half size, `[3, HALF, STRIDE]`, zero to the right of the picture.
struct HalfDifference {
    pixels: Vec<f32>,
    energy: BoxSums,
}

impl HalfDifference {
    fn of(full: &Difference) -> Self {
        let mut pixels = vec![0.0; CHANNELS * HALF * STRIDE];
        let rows = halve(&full.pixels, SIZE);
        for (padded, row) in pixels.chunks_exact_mut(STRIDE).zip(rows.chunks_exact(HALF)) {
            padded[..HALF].copy_from_slice(row);
        }
        let energy = BoxSums::new(HALF, |x, y| {
            (0..CHANNELS).map(|c| pixels[(c * HALF + y) * STRIDE + x].powi(2)).sum()
        });
        Self { pixels, energy }
    }

    /// Places (left and top, in full-size pixels) that score high enough and no lower than their
    /// eight neighbours.
    fn places(&self, template: &Template, background: [f32; CHANNELS]) -> Vec<[usize; 2]> {
        let edge = template.half_size;
        let count = HALF - edge + 1;
        let pixels = expected(&template.half_color, &template.half_alpha, background);
        let energy = square_sum(&pixels);
        // With r = |x| / |t|, a score is at most 2 r / (1 + r²): where the box holds too little,
        // nothing needs to be multiplied.
        let c = f64::from(COARSE_THRESHOLD);
        let least = energy * ((1.0 - (1.0 - c * c).sqrt()) / c).powi(2) as f32;

        let mut scores = vec![[0.0_f32; LANES]; count];
        for (y, scores) in scores.iter_mut().enumerate() {
            let energies: [f32; LANES] =
                std::array::from_fn(|x| if x < count { self.energy.of(x, y, edge) } else { 0.0 });
            if energies.iter().any(|found| *found >= least) {
                let dots = self.dots(y, edge, &pixels);
                *scores = std::array::from_fn(|x| 2.0 * dots[x] / (energies[x] + energy));
            }
        }
        let is_peak = |x: usize, y: usize| {
            let score = scores[y][x];
            let near = |k: usize| k.saturating_sub(1)..=(k + 1).min(count - 1);
            score >= COARSE_THRESHOLD && near(y).all(|y| near(x).all(|x| scores[y][x] <= score))
        };
        let places = (0..count).flat_map(|y| (0..count).map(move |x| (x, y)));
        places.filter(|(x, y)| is_peak(*x, *y)).map(|(x, y)| [2 * x, 2 * y]).collect()
    }

    /// <x, t> for all places of row `y`.
    fn dots(&self, y: usize, edge: usize, expected: &[f32]) -> [f32; LANES] {
        let mut dots = [0.0; LANES];
        for (k, line) in expected.chunks_exact(edge).enumerate() {
            let row = &self.pixels[(k / edge * HALF + y + k % edge) * STRIDE..][..STRIDE];
            for (shift, t) in line.iter().enumerate() {
                if *t != 0.0 {
                    let shifted: &[f32; LANES] =
                        row[shift..].first_chunk().expect("a row is padded for every shift");
                    for (dot, x) in dots.iter_mut().zip(shifted) {
                        *dot += x * t;
                    }
                }
            }
        }
        dots
    }
}

/// A sprite found somewhere.
struct Find {
    sprite: &'static Sprite,
    x: usize,
    y: usize,
    score: f32,
}

impl Find {
    fn detection(&self) -> Detection {
        let edge = self.sprite.size as f32;
        Detection {
            class: self.sprite.glyph.kind().name().to_owned(),
            color: self.sprite.glyph.color().map(|color| color.name().to_owned()),
            bounds: BoundingBox { x: self.x as f32, y: self.y as f32, width: edge, height: edge },
            score: self.score,
        }
    }
}

/// The shared area over the smaller box's area.
fn overlap(a: &Find, b: &Find) -> f32 {
    let shared = |a: usize, a_size: usize, b: usize, b_size: usize| {
        (a + a_size).min(b + b_size).saturating_sub(a.max(b))
    };
    let [size, other] = [a.sprite.size, b.sprite.size];
    let area = shared(a.x, size, b.x, other) * shared(a.y, size, b.y, other);
    let smaller = size.min(other);
    area as f32 / (smaller * smaller) as f32
}

#[cfg(test)]
mod tests {
    use super::super::{Glyph, Placement, SPRITE_SIZES, Scene};
    use super::*;

    #[test]
    fn finds_every_glyph_off_the_grid_and_nothing_else() {
        let mut wrong = Vec::new();
        for (k, glyph) in Glyph::all().enumerate() {
            for (size, edge) in SPRITE_SIZES.into_iter().enumerate() {
                let free = SIZE - edge;
                let (x, y) = ((7 * k + 1) % free, (11 * k + 3 * size) % free);
                let placement = Placement { glyph, size, x, y };
                let found = detect(&Picture::render(&Scene {
                    background: [0.9, 0.85, 0.93],
                    placements: vec![placement],
                }));
                let is_it = |found: &Detection| {
                    found.class == glyph.kind().name()
                        && found.color.as_deref() == glyph.color().map(|color| color.name())
                        && found.bounds == placement.bounds()
                        && (found.score - 1.0).abs() < 1e-4
                };
                if !matches!(&found[..], [one] if is_it(one)) {
                    wrong.push(format!("{glyph:?} at {x}, {y}: {found:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn finds_nothing_in_nothing() {
        let plain = Scene { background: [0.8, 0.9, 0.95], placements: Vec::new() };
        assert_eq!(detect(&Picture::render(&plain)), []);
        let broken = Picture { pixels: vec![f32::NAN; CHANNELS * SIZE * SIZE] };
        assert_eq!(detect(&broken), []);
    }
}
