//! Pictures of the world, and the ways in which they can be ugly.

use hyperalign_core::noise::Stream;

use super::{CHANNELS, SIZE, Scene, Sprite};

/// An RGB picture, `[3, SIZE, SIZE]`, in `[0, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The planes red, green, blue, row by row.
    pub pixels: Vec<f32>,
}

/// A way of being ugly. Every picture stays recognisable to a patient eye.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flaw {
    /// White noise of this standard deviation.
    Noise(f64),
    /// A Gaussian blur of this standard deviation, in pixels.
    Blur(f64),
    /// Contrast brought down to this factor, about the middle grey.
    Contrast(f64),
}

impl Flaw {
    /// Noise of .08 to .16, blur of .8 to 1.6 pixels, or contrast of .35 to .6.
    pub fn draw(stream: &mut Stream) -> Self {
        match stream.below(3) {
            0 => Self::Noise(stream.range(0.08, 0.16)),
            1 => Self::Blur(stream.range(0.8, 1.6)),
            _ => Self::Contrast(stream.range(0.35, 0.6)),
        }
    }
}

impl Picture {
    /// Draws `scene`.
    pub fn render(scene: &Scene) -> Self {
        let mut picture = Self::plain(scene.background);
        for placement in &scene.placements {
            let sprite = Sprite::of(placement.glyph, placement.size);
            picture.draw(sprite, placement.x, placement.y);
        }
        picture
    }

    /// Nothing but a background.
    pub(super) fn plain(background: [f32; CHANNELS]) -> Self {
        let plane = |value: f32| std::iter::repeat_n(value, SIZE * SIZE);
        Self { pixels: background.into_iter().flat_map(plane).collect() }
    }

    /// Draws a sprite with its left upper corner at (`x`, `y`).
    pub(super) fn draw(&mut self, sprite: &Sprite, x: usize, y: usize) {
        let Sprite { size, color, alpha, .. } = sprite;
        for channel in 0..CHANNELS {
            for row in 0..*size {
                let at = (channel * SIZE + y + row) * SIZE + x;
                let color = &color[(channel * size + row) * size..][..*size];
                let alpha = &alpha[row * size..][..*size];
                let pixels = self.pixels[at..at + size].iter_mut();
                for ((pixel, color), alpha) in pixels.zip(color).zip(alpha) {
                    *pixel = color + (1.0 - alpha) * *pixel;
                }
            }
        }
    }

    /// The picture with a flaw.
    pub fn spoiled(mut self, flaw: Flaw, stream: &mut Stream) -> Self {
        match flaw {
            Flaw::Noise(sd) => {
                for pixel in &mut self.pixels {
                    *pixel = (*pixel + (sd * stream.normal()) as f32).clamp(0.0, 1.0);
                }
            }
            Flaw::Blur(sd) => self.blur(sd),
            Flaw::Contrast(factor) => {
                for pixel in &mut self.pixels {
                    *pixel = 0.5 + (*pixel - 0.5) * factor as f32;
                }
            }
        }
        self
    }

    /// Rows first, then columns; the border repeats.
    fn blur(&mut self, sd: f64) {
        let radius = (3.0 * sd).ceil() as i32;
        let weights: Vec<f64> =
            (-radius..=radius).map(|k| (-0.5 * (f64::from(k) / sd).powi(2)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for (along, across) in [(1, SIZE), (SIZE, 1)] {
            let source = self.pixels.clone();
            for plane in 0..CHANNELS {
                for line in 0..SIZE {
                    let start = plane * SIZE * SIZE + line * across;
                    let at = |k: usize| start + k * along;
                    for k in 0..SIZE {
                        let tap = |(j, weight): (usize, &f64)| {
                            let near = (k as i32 + j as i32 - radius).clamp(0, SIZE as i32 - 1);
                            weight * f64::from(source[at(near as usize)])
                        };
                        let value: f64 = weights.iter().enumerate().map(tap).sum();
                        self.pixels[at(k)] = (value / sum) as f32;
                    }
                }
            }
        }
    }

    /// The picture as networks take it: values in `[-1, 1]`.
    pub fn to_signed(&self) -> impl Iterator<Item = f32> + '_ {
        self.pixels.iter().map(|value| value * 2.0 - 1.0)
    }

    /// The picture that a network made, from values in `[-1, 1]`; what lies outside is clipped.
    ///
    /// # Panics
    ///
    /// Panics if there are not `3 * SIZE * SIZE` values.
    pub fn from_signed(values: &[f32]) -> Self {
        assert_eq!(values.len(), CHANNELS * SIZE * SIZE, "values of a picture");
        Self { pixels: values.iter().map(|v| ((v + 1.0) / 2.0).clamp(0.0, 1.0)).collect() }
    }

    /// Bytes, plane by plane as the values are.
    pub fn to_planes8(&self) -> Vec<u8> {
        self.pixels.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
    }

    /// The picture of [`to_planes8`](Self::to_planes8).
    pub fn from_planes8(bytes: &[u8]) -> Self {
        Self { pixels: bytes.iter().map(|&value| f32::from(value) / 255.0).collect() }
    }

    /// Bytes, red, green, blue, pixel by pixel, as picture files hold them.
    pub fn to_rgb8(&self) -> Vec<u8> {
        let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
        (0..SIZE * SIZE)
            .flat_map(|k| (0..CHANNELS).map(move |c| byte(self.pixels[c * SIZE * SIZE + k])))
            .collect()
    }
}
