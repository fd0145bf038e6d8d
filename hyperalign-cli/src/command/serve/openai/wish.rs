//! The fields of a request.

use hyperalign_core::schedule::SolverChoice;
use serde_json::Value;

use crate::{
    command::serve::{catalog::bad, fields::Fields, order::Wish},
    server::Refusal,
};

/// The fields that there are.
const KNOWN: [&str; 20] = [
    "prompt",
    "model",
    "n",
    "size",
    "seed",
    "steps",
    "guidance",
    "negative_prompt",
    "variant",
    "loras",
    "scheduler",
    "eta",
    "response_format",
    "stream",
    "partial_images",
    "output_format",
    "quality",
    "background",
    "moderation",
    "user",
];

/// Names that others have for what is here by another one.
const ELSEWHERE: [(&str, &str); 6] = [
    ("width", "size"),
    ("height", "size"),
    ("cfg_scale", "guidance"),
    ("guidance_scale", "guidance"),
    ("num_inference_steps", "steps"),
    ("sampler_name", "scheduler"),
];

/// What a request wishes, and whether it wants to see how it is made.
///
/// # Errors
///
/// Refuses a field that there is not or that has no such value, and another model than `base`.
pub fn read(mut fields: Fields, base: &str) -> Result<(Wish, bool), Refusal> {
    if let Some(model) = fields.text("model")?.filter(|model| model != base) {
        return Err(bad(format!(
            "there is no model `{model}`; this server makes pictures with `{base}`: leave `model` \
             out, or give that"
        )));
    }
    let prompt = fields.text("prompt")?;
    let is_stream = fields.flag("stream")?;
    let solver = fields.text("scheduler")?.map(|name| name.parse());
    let wish = Wish {
        prompt: prompt.ok_or_else(|| bad("there is no `prompt`; expected {\"prompt\": \"..\"}"))?,
        negative_prompt: fields.text("negative_prompt")?.unwrap_or_default(),
        pictures: fields.whole("n")?,
        size: size(fields.text("size")?)?,
        seed: fields.whole("seed")?,
        steps: fields.whole("steps")?,
        guidance: fields.number("guidance")?,
        solver: SolverChoice {
            solver: solver.transpose().map_err(|error| bad(format!("{error}")))?,
            eta: fields.number("eta")?,
        },
        variant: fields.text("variant")?,
        loras: fields.take("loras").map(loras).transpose()?,
        previews: fields.whole("partial_images")?.unwrap_or(0),
        is_lenient: false,
    };
    if wish.previews > 0 && !is_stream {
        return Err(bad("`partial_images` are sent in a stream; add `\"stream\": true`"));
    }
    fields.only("response_format", &["b64_json"])?;
    fields.only("output_format", &["png"])?;
    fields.only("quality", &["auto", "standard"])?;
    fields.only("background", &["auto", "opaque"])?;
    fields.only("moderation", &["auto", "low"])?;
    // Who asks makes no difference here.
    fields.text("user")?;
    for (name, here) in ELSEWHERE {
        if fields.take(name).is_some() {
            return Err(bad(format!("there is no field `{name}`; here it is `{here}`")));
        }
    }
    fields.finish(&KNOWN)?;
    Ok((wish, is_stream))
}

/// Height and width of `WIDTHxHEIGHT`.
fn size(text: Option<String>) -> Result<Option<[usize; 2]>, Refusal> {
    let Some(text) = text.filter(|text| text != "auto") else { return Ok(None) };
    let sides = text
        .split_once('x')
        .and_then(|(width, height)| Some([height.parse().ok()?, width.parse().ok()?]));
    sides.map(Some).ok_or_else(|| {
        bad(format!(
            "`size` is `{text}`; expected WIDTHxHEIGHT in pixels, such as 768x512, or `auto`"
        ))
    })
}

/// LoRA files by their names: `{"a": 0.8}`, `["a"]` or `[{"name": "a", "scale": 0.8}]`.
fn loras(value: Value) -> Result<Vec<(String, f64)>, Refusal> {
    let expected = || bad("`loras` is something else than {\"NAME\": SCALE}, or a list of names");
    match value {
        Value::Object(object) => {
            let pair =
                |(name, scale): (String, Value)| Ok((name, scale.as_f64().ok_or_else(expected)?));
            object.into_iter().map(pair).collect()
        }
        Value::Array(items) => {
            let pair = |item: Value| match item {
                Value::String(name) => Ok((name, 1.0)),
                Value::Object(object) => {
                    let name = object.get("name").and_then(Value::as_str).ok_or_else(expected)?;
                    let scale = object.get("scale").map_or(Some(1.0), Value::as_f64);
                    if object.keys().any(|key| key != "name" && key != "scale") {
                        return Err(expected());
                    }
                    Ok((name.to_owned(), scale.ok_or_else(expected)?))
                }
                _ => Err(expected()),
            };
            items.into_iter().map(pair).collect()
        }
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(value: Value) -> Result<Wish, String> {
        let fields = Fields::read(value.to_string().as_bytes()).unwrap();
        read(fields, "emoji-sd").map(|(wish, _)| wish).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn what_clients_of_the_api_send() {
        let found = wish(json!({
            "prompt": "a dog", "model": "emoji-sd", "n": 2, "size": "64x32", "quality": "auto",
            "response_format": "b64_json", "output_format": "png", "user": "me", "seed": null,
            "loras": [{"name": "x", "scale": 0.5}, "y"], "scheduler": "euler-a", "eta": 0.5,
        }));
        let found = found.unwrap();
        assert_eq!((found.pictures, found.size), (Some(2), Some([32, 64])));
        assert_eq!(found.loras, Some(vec![("x".to_owned(), 0.5), ("y".to_owned(), 1.0)]));
        assert_eq!(found.solver.eta, Some(0.5));
        assert_eq!(wish(json!({"prompt": "", "size": "auto"})).unwrap(), Wish::default());
    }

    #[test]
    fn what_is_not_here_is_said() {
        for (more, words) in [
            (json!({"model": "dall-e-3"}), "no model `dall-e-3`; this server makes pictures with"),
            (json!({"response_format": "url"}), "only has `b64_json`"),
            (json!({"quality": "hd"}), "`auto` or `standard`"),
            (json!({"style": "vivid"}), "no field `style`"),
            (json!({"sed": 3}), "did you mean `seed`?"),
            (json!({"guidance_scale": 3}), "here it is `guidance`"),
            (json!({"size": "512"}), "WIDTHxHEIGHT"),
            (json!({"size": "-1x8"}), "WIDTHxHEIGHT"),
            (json!({"seed": -1}), "`seed` is -1; expected a whole number"),
            (json!({"partial_images": 2}), "add `\"stream\": true`"),
            (json!({"scheduler": "eulr"}), "there is no scheduler `eulr`"),
            (json!({"loras": {"x": "strong"}}), "`loras` is something else"),
            (json!({"loras": [{"name": "x", "weight": 1}]}), "`loras` is something else"),
        ] {
            let mut body = json!({"prompt": "a dog"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let reason = wish(body).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
        assert!(wish(json!({})).unwrap_err().contains("no `prompt`"));
    }
}
