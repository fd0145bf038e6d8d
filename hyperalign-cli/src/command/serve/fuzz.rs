//! Bodies of requests that nobody wrote.

use hyperalign_core::fuzz::{Fuzz, inputs};

use super::{fields::Fields, openai, webui};

#[test]
fn requests() {
    let openai = br#"{"prompt": "a dog", "n": 2, "size": "64x32", "seed": 7, "loras": {"x": 0.5}}"#;
    let webui = br#"{"prompt": "a <lora:x:0.5> dog", "seed": -1, "width": 8, "height": 8,
        "sampler_name": "Euler a", "cfg_scale": 7, "batch_size": 2, "alwayson_scripts": {}}"#;
    let words =
        &["<lora:", ":", ">", "{", "\"", "null", "1e999", "-1", "x", "\"loras\":", "[", ","];
    let corpus = vec![openai.to_vec(), webui.to_vec()];
    let fuzz = Fuzz { name: "requests for pictures", corpus, words, constant: 8 << 20 };
    let figures = fuzz.run(inputs(), |body| {
        let read = || Fields::read(body).ok();
        let first = read().is_some_and(|fields| openai::read(fields, "small").is_ok());
        let second = read().is_some_and(|fields| webui::read(fields, false).is_ok());
        first || second
    });
    println!("fuzz {}: {figures}", fuzz.name);
}
