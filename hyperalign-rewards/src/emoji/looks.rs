//! How a picture looks, whatever it shows.

use super::Picture;
use super::detect::redraw;

/// How far a picture is from a clean drawing of what it shows: the root mean square of its
/// difference from a render of the things that the detector finds, at their places, on its own
/// background. 0 for a render; noise, blur, paleness and whatever is no thing make it larger.
pub fn ugliness(picture: &Picture) -> f32 {
    let clean = redraw(picture);
    let errors = picture.pixels.iter().zip(&clean.pixels).map(|(a, b)| f64::from(a - b));
    let square: f64 = errors.map(|error| error * error).sum();
    (square / picture.pixels.len() as f64).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use hyperalign_core::noise::{Purpose, Stream};

    use super::super::{Caption, Flaw, World};
    use super::*;

    #[test]
    fn renders_are_clean_and_flaws_are_ugly() {
        let mut stream = Stream::new(1, Purpose::World, 98, 0);
        for text in ["a dog", "three rockets", "a red heart and a blue square"] {
            let caption = Caption::parse(text).unwrap();
            let picture = Picture::render(&World::LARGE.scene(&caption, &mut stream));
            assert!(ugliness(&picture) < 1e-3, "{text}: {}", ugliness(&picture));
            for flaw in [Flaw::Noise(0.1), Flaw::Blur(1.2), Flaw::Contrast(0.5)] {
                let spoiled = picture.clone().spoiled(flaw, &mut stream);
                assert!(ugliness(&spoiled) > 0.02, "{text} {flaw:?}: {}", ugliness(&spoiled));
            }
        }
    }
}
