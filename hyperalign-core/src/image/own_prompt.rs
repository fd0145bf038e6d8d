//! The prompt that a PNG file says it was made for, in the words of the programs that make such
//! files.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::{
    parameters::prompt_of,
    png::{PARAMETERS, read_info, texts},
};

/// What a PNG file says about its prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnPrompt {
    /// This is it.
    Prompt(String),
    /// It has text, and none of it is a prompt; in words, to follow "it holds".
    Other(String),
    /// It has no text.
    Nothing,
}

/// Where ComfyUI keeps the workflow that made a picture.
const COMFY: &str = "prompt";
/// Where InvokeAI keeps its settings.
const INVOKE: &str = "invokeai_metadata";
/// Keywords that say nothing about how a picture was made.
const PLAIN: [&str; 5] = ["Author", "Creation Time", "Copyright", "Title", "date:create"];

/// The prompt of the PNG file `bytes`: in the `parameters` of the web UI, in ComfyUI's workflow, in
/// InvokeAI's settings, or in NovelAI's description. The picture is not decoded.
pub fn png_prompt(bytes: &[u8]) -> OwnPrompt {
    let Ok(reader) = read_info(bytes) else { return OwnPrompt::Nothing };
    let texts = texts(reader.info());
    let text = |keyword: &str| {
        texts.iter().find(|(known, _)| known == keyword).map(|(_, text)| text.as_str())
    };
    if let Some(text) = text(PARAMETERS) {
        return match prompt_of(text) {
            prompt if prompt.is_empty() => OwnPrompt::Other("parameters without a prompt".into()),
            prompt => OwnPrompt::Prompt(prompt),
        };
    }
    if let Some(text) = text(COMFY) {
        return comfy(text);
    }
    if let Some(settings) = text(INVOKE).and_then(|text| serde_json::from_str(text).ok()) {
        let settings: Value = settings;
        if let Some(prompt) = settings["positive_prompt"].as_str() {
            return OwnPrompt::Prompt(prompt.to_owned());
        }
    }
    if let (Some("NovelAI"), Some(prompt)) = (text("Software"), text("Description")) {
        return OwnPrompt::Prompt(prompt.to_owned());
    }
    let others: BTreeSet<_> = texts
        .iter()
        .map(|(keyword, _)| keyword.as_str())
        .filter(|keyword| !PLAIN.contains(keyword))
        .map(|keyword| format!("`{keyword}`"))
        .collect();
    match others.is_empty() {
        true => OwnPrompt::Nothing,
        false => {
            let others: Vec<_> = others.into_iter().collect();
            OwnPrompt::Other(format!("text called {}, which is not read", others.join(", ")))
        }
    }
}

/// The text that the samplers of a workflow take as their positive condition. Other nodes may stand
/// between (a LoRA's, a ControlNet's); each is gone through once.
fn comfy(text: &str) -> OwnPrompt {
    let other = |what: &str| OwnPrompt::Other(format!("a ComfyUI workflow {what}"));
    // Python writes numbers into it that JSON does not have.
    let text = text.replace("NaN", "null");
    let Ok(Value::Object(nodes)) = serde_json::from_str(&text) else {
        return other("that is no JSON");
    };
    let mut prompts = BTreeSet::new();
    for node in nodes.values() {
        if let Some(positive) = node["inputs"].get("positive") {
            follow(&nodes, positive, &mut HashSet::new(), &mut prompts);
        }
    }
    let mut found = prompts.into_iter();
    match (found.next(), found.next()) {
        (Some(prompt), None) => OwnPrompt::Prompt(prompt),
        (Some(_), Some(_)) => other("with several prompts"),
        (None, _) => other("in which no sampler has a prompt in words"),
    }
}

/// What inputs are called that lead to the text of a condition, texts before what holds one.
const WORDS: [&str; 5] = ["text", "text_g", "string", "prompt", "value"];
const LINKS: [&str; 5] = ["positive", "conditioning", "conditioning_1", "conditioning_2", "clip_l"];

/// Collects the texts behind `link`, which is a text itself or `[node, output]`.
fn follow<'a>(
    nodes: &'a Map<String, Value>,
    link: &'a Value,
    seen: &mut HashSet<&'a str>,
    prompts: &mut BTreeSet<String>,
) {
    // A list of links instead of calls: a workflow may be as deep as its file is long.
    let mut links = vec![link];
    while let Some(link) = links.pop() {
        if let Some(text) = link.as_str().map(str::trim).filter(|text| !text.is_empty()) {
            prompts.insert(text.to_owned());
        }
        let Some(id) = link.get(0).and_then(Value::as_str).filter(|id| seen.insert(id)) else {
            continue;
        };
        let Some(inputs) = nodes.get(id).and_then(|node| node.get("inputs")) else { continue };
        match WORDS.iter().find_map(|name| inputs.get(name)) {
            Some(words) => links.push(words),
            None => links.extend(LINKS.iter().filter_map(|name| inputs.get(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::image::{Rgb, RgbImage};
    use serde_json::json;

    use super::*;

    /// A small picture with text chunks.
    fn png(texts: &[(&str, &str)]) -> Vec<u8> {
        let picture = RgbImage::from_pixel(8, 8, Rgb([1, 2, 3]));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(png::ColorType::Rgb);
        for (keyword, text) in texts {
            encoder.add_itxt_chunk((*keyword).to_owned(), (*text).to_owned()).unwrap();
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(picture.as_raw()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn prompt(texts: &[(&str, &str)]) -> String {
        match png_prompt(&png(texts)) {
            OwnPrompt::Prompt(prompt) => prompt,
            other => panic!("{other:?}"),
        }
    }

    fn other(texts: &[(&str, &str)]) -> String {
        match png_prompt(&png(texts)) {
            OwnPrompt::Other(found) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_web_ui() {
        let text = "a red heart\r\nSteps: 20, Sampler: x, Seed: -1, Size: ?";
        assert_eq!(prompt(&[("Software", "x"), ("parameters", text)]), "a red heart");
        assert!(other(&[("parameters", "Steps: 20")]).contains("without a prompt"));
        assert_eq!(png_prompt(&png(&[])), OwnPrompt::Nothing);
        assert_eq!(png_prompt(&png(&[("Title", "x")])), OwnPrompt::Nothing);
        assert_eq!(png_prompt(b"no picture"), OwnPrompt::Nothing);
    }

    #[test]
    fn a_workflow() {
        let mut flow = json!({
            "3": {"class_type": "KSampler", "inputs": {"positive": ["8", 0], "negative": ["7", 0]}},
            "8": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0]}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red heart", "clip": ["4", 1]}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dark"}},
        });
        assert_eq!(prompt(&[("prompt", &flow.to_string())]), "a red heart");
        flow["6"]["inputs"]["text"] = json!(["9", 0]);
        flow["9"] = json!({"class_type": "PrimitiveString", "inputs": {"value": "a dog"}});
        assert_eq!(prompt(&[("prompt", &flow.to_string())]), "a dog");
        // A ring, which no one can walk to its end.
        flow["9"]["inputs"]["value"] = json!(["6", 0]);
        assert!(other(&[("prompt", &flow.to_string())]).contains("ComfyUI"));
        assert!(
            other(&[("prompt", "{\"3\": {\"class_type\": \"KSampler\"}}")]).contains("no sampler")
        );
        flow["5"] = json!({"inputs": {"positive": ["7", 0]}});
        flow["9"]["inputs"]["value"] = json!("a dog");
        assert!(other(&[("prompt", &flow.to_string())]).contains("several prompts"));
    }

    #[test]
    fn other_programs() {
        let invoke = json!({"positive_prompt": "a red heart", "seed": 1}).to_string();
        assert_eq!(prompt(&[("invokeai_metadata", &invoke)]), "a red heart");
        let novel = [("Software", "NovelAI"), ("Description", "a red heart"), ("Comment", "{}")];
        assert_eq!(prompt(&novel), "a red heart");
        assert!(other(&[("Comment", "x"), ("Dream", "y")]).contains("`Comment`, `Dream`"));
    }
}
