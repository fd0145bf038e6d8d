//! The fields of a request.

use hyperalign_core::schedule::SolverChoice;
use serde_json::{Map, Value, json};

use super::names;
use crate::{
    command::serve::{catalog::bad, fields::Fields, order::Wish},
    server::Refusal,
};

/// What a LoRA in a prompt begins with.
const LORA: &str = "<lora:";

/// What a request wishes, and its fields again, as far as they were read. `flows` says which solvers
/// the base can take.
///
/// # Errors
///
/// Refuses a field that has no such value, and a sampler that there is not.
pub fn read(mut fields: Fields, flows: bool) -> Result<(Wish, Value), Refusal> {
    let mut echo = Map::new();
    let prompt = fields.text("prompt")?.unwrap_or_default();
    let negative = fields.text("negative_prompt")?.unwrap_or_default();
    let seed = seed(fields.number("seed")?)?;
    let (batch, rounds) = (fields.whole("batch_size")?, fields.whole("n_iter")?);
    let side = |fields: &mut Fields, name| {
        let side = fields.whole(name)?;
        Ok::<_, Refusal>(side.map(|side| usize::try_from(side).unwrap_or(usize::MAX)))
    };
    let size = match (side(&mut fields, "height")?, side(&mut fields, "width")?) {
        (Some(height), Some(width)) => Some([height, width]),
        (None, None) => None,
        _ => return Err(bad("`width` and `height` go together; there is only one of them")),
    };
    let index = fields.take("sampler_index");
    let sampler = fields.text("sampler_name")?;
    let sampler = sampler.or_else(|| index.and_then(|name| name.as_str().map(str::to_owned)));
    let levels = fields.text("scheduler")?;
    let solver = sampler.as_deref().map(|name| names::solver(name, levels.as_deref(), flows));
    let (text, loras) = without_loras(&prompt)?;
    let wish = Wish {
        prompt: text,
        negative_prompt: negative,
        pictures: Some(batch.unwrap_or(1).saturating_mul(rounds.unwrap_or(1))),
        size,
        seed,
        steps: fields.whole("steps")?,
        guidance: fields.number("cfg_scale")?,
        solver: SolverChoice { solver: solver.transpose()?, eta: fields.number("eta")? },
        variant: fields.text("variant")?,
        loras: (!loras.is_empty()).then_some(loras),
        previews: 0,
        is_lenient: true,
    };
    for (name, value) in [
        ("prompt", json!(prompt)),
        ("negative_prompt", json!(wish.negative_prompt)),
        ("seed", json!(wish.seed)),
        ("steps", json!(wish.steps)),
        ("cfg_scale", json!(wish.guidance)),
        ("width", json!(wish.size.map(|[_, width]| width))),
        ("height", json!(wish.size.map(|[height, _]| height))),
        ("batch_size", json!(batch)),
        ("n_iter", json!(rounds)),
        ("sampler_name", json!(sampler)),
        ("scheduler", json!(levels)),
        ("variant", json!(wish.variant)),
    ] {
        echo.insert(name.to_owned(), value);
    }
    Ok((wish, echo.into()))
}

/// The seed; -1 is any.
fn seed(number: Option<f64>) -> Result<Option<u64>, Refusal> {
    match number {
        None => Ok(None),
        Some(-1.0) => Ok(None),
        Some(number)
            if number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number) =>
        {
            Ok(Some(number as u64))
        }
        Some(number) => Err(bad(format!(
            "`seed` is {number}; expected a whole number from 0 to 2^53, or -1 for any"
        ))),
    }
}

/// A prompt without its LoRAs, `<lora:NAME:SCALE>`, and those.
fn without_loras(prompt: &str) -> Result<(String, Vec<(String, f64)>), Refusal> {
    let (mut text, mut loras, mut rest) = (String::new(), Vec::new(), prompt);
    while let Some(start) = rest.find(LORA) {
        let Some(end) = rest[start..].find('>') else { break };
        let inner = &rest[start + LORA.len()..start + end];
        let (name, scale) = match inner.split_once(':') {
            Some((name, scale)) => {
                let number = scale.trim().parse().ok().filter(|scale: &f64| scale.is_finite());
                let wrong =
                    || bad(format!("the scale `{scale}` of the LoRA `{name}` is no number"));
                (name, number.ok_or_else(wrong)?)
            }
            None => (inner, 1.0),
        };
        loras.push((name.trim().to_owned(), scale));
        text += &rest[..start];
        rest = &rest[start + end + 1..];
    }
    text += rest;
    match loras.is_empty() {
        true => Ok((text, loras)),
        false => Ok((text.trim().to_owned(), loras)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(body: Value) -> Result<Wish, String> {
        let fields = Fields::read(body.to_string().as_bytes()).unwrap();
        read(fields, false).map(|(wish, _)| wish).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn what_front_ends_send() {
        let found = wish(json!({
            "prompt": "a dog <lora:x:0.5>", "negative_prompt": "blurry", "seed": -1, "steps": 20,
            "cfg_scale": 7, "width": 64, "height": 32, "batch_size": 2, "n_iter": 3,
            "sampler_name": "Euler a", "scheduler": "Automatic", "enable_hr": false,
            "restore_faces": null, "override_settings": {"x": 1}, "alwayson_scripts": {},
        }));
        let found = found.unwrap();
        assert_eq!((found.prompt.as_str(), found.pictures), ("a dog", Some(6)));
        assert_eq!((found.seed, found.size), (None, Some([32, 64])));
        assert_eq!(found.loras, Some(vec![("x".to_owned(), 0.5)]));
        let many = wish(json!({"batch_size": u64::MAX, "n_iter": 9}));
        assert_eq!(many.unwrap().pictures, Some(u64::MAX));
        for (body, words) in [
            (json!({"seed": -2}), "`seed` is -2"),
            (json!({"seed": 0.5}), "`seed` is 0.5"),
            (json!({"width": 64}), "go together"),
            (json!({"prompt": 3}), "`prompt` is 3; expected a text"),
            (json!({"prompt": "<lora:x:much>"}), "`much`"),
        ] {
            let reason = wish(body).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn loras_stand_in_prompts() {
        let one = |name: &str, scale: f64| (name.to_owned(), scale);
        for (prompt, text, loras) in [
            ("a <b> dog", "a <b> dog", vec![]),
            ("<lora:a>dog", "dog", vec![one("a", 1.0)]),
            ("a <lora:x: -0.5>dog<lora:y:2>", "a dog", vec![one("x", -0.5), one("y", 2.0)]),
            ("a <lora:x", "a <lora:x", vec![]),
        ] {
            assert_eq!(without_loras(prompt).unwrap(), (text.to_owned(), loras), "{prompt}");
        }
    }
}
