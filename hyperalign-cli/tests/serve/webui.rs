//! Pictures in the shape of AUTOMATIC1111's web UI.

use serde_json::json;

use super::*;
use crate::openai::write_lora;

const TXT2IMG: &str = "/sdapi/v1/txt2img";

#[test]
fn front_ends_get_what_they_ask_for() {
    let world = World::new();
    write_lora(&world, "style.safetensors");
    let server = start(&world, &["--lora", "style.safetensors=0"]);
    let body = json!({
        "prompt": "a red dog", "negative_prompt": "a blue heart", "seed": 7, "steps": 3,
        "cfg_scale": 2.5, "width": 16, "height": 8, "batch_size": 2, "n_iter": 1,
        "sampler_name": "Euler a", "scheduler": "Automatic", "send_images": true, "enable_hr": false,
        "override_settings": {"sd_model_checkpoint": "x"}, "alwayson_scripts": {}, "styles": [],
    });
    let (status, answer) = ask(&server, TXT2IMG, &body);
    assert_eq!(status, 200, "{answer}");
    let expected = sampled_with(&world);
    assert!(file(&answer["images"][0]) == expected);
    assert_eq!(answer["images"].as_array().unwrap().len(), 2);
    assert_eq!(answer["parameters"]["steps"], 3);
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!((&info["seed"], &info["all_seeds"]), (&json!(7), &json!([7, 8])));
    assert_eq!((&info["sampler_name"], &info["width"]), (&json!("Euler a"), &json!(16)));
    let words = info["infotexts"][1].as_str().unwrap();
    assert!(
        words.contains("Negative prompt: a blue heart") && words.contains("Seed: 8"),
        "{words}"
    );

    // The least that a front end sends, with a LoRA in the prompt.
    let (status, answer) =
        ask(&server, TXT2IMG, &json!({"prompt": "a dog <lora:style:0.5>", "seed": 1}));
    assert_eq!(status, 200, "{answer}");
    let flags = ["--prompt", "a dog", "--seed", "1", "--lora", "style.safetensors=0.5"];
    assert!(file(&answer["images"][0]) == sampled(&world, &flags));
    let (status, answer) = ask(&server, TXT2IMG, &json!({"prompt": "a dog", "seed": -1}));
    assert_eq!(status, 200, "{answer}");

    for (body, words) in [
        (json!({"prompt": "a dog", "sampler_name": "Euler b"}), "did you mean `Euler a`?"),
        (json!({"prompt": "a dog <lora:other:1>"}), "there is no LoRA `other`"),
        (json!({"prompt": "a dog", "batch_size": 6, "n_iter": 2}), "12 pictures were asked for"),
        (json!({"prompt": "a dog", "width": "8"}), "`width` is"),
        (json!({"prompt": "a gryphon"}), "gryphon"),
    ] {
        let (status, answer) = ask(&server, TXT2IMG, &body);
        let reason = answer["detail"].as_str().unwrap();
        assert!(status == 400 && reason.contains(words), "{reason}");
    }
    // A negative prompt that means nothing is told and not refused: it is always sent.
    let body = json!({"prompt": "a dog", "negative_prompt": "a heart", "cfg_scale": 1});
    let (_, answer) = ask(&server, TXT2IMG, &body);
    assert!(answer["info"].as_str().unwrap().contains("no meaning here"), "{answer}");
}

/// What `sample` makes of the first request.
fn sampled_with(world: &World) -> Vec<u8> {
    let arguments = [
        "sample",
        "--base",
        "base",
        "--out",
        "sampled.png",
        "--prompt",
        "a red dog",
        "--seed",
        "7",
        "--negative",
        "a blue heart",
        "--steps",
        "3",
        "--guidance",
        "2.5",
        "--size",
        "8x16",
        "--scheduler",
        "euler-a",
    ];
    let output = world.run(&arguments);
    assert!(output.status.success(), "{}", message(&output));
    std::fs::read(world.path("sampled.png")).unwrap()
}

#[test]
fn front_ends_find_what_they_look_for_first() {
    let world = World::new();
    write_lora(&world, "style.safetensors");
    let server = start(&world, &["--lora", "style.safetensors=0"]);
    let title = get(&server, "/sdapi/v1/options")["sd_model_checkpoint"].clone();
    let models = get(&server, "/sdapi/v1/sd-models");
    assert_eq!((&models[0]["title"], &models[0]["model_name"]), (&title, &json!("base")));
    let samplers = get(&server, "/sdapi/v1/samplers");
    let names: Vec<_> = samplers.as_array().unwrap().iter().map(|s| s["name"].as_str()).collect();
    assert!(names.contains(&Some("DPM++ 2M Karras")) && !names.contains(&Some("Flow CPS")));
    assert_eq!(get(&server, "/sdapi/v1/loras")[0]["name"], "style");
    assert_eq!(get(&server, "/sdapi/v1/upscalers"), json!([]));
    assert_eq!(get(&server, "/sdapi/v1/progress")["progress"], 0.0);
    let choose =
        |name: &Value| ask(&server, "/sdapi/v1/options", &json!({"sd_model_checkpoint": name}));
    assert_eq!(choose(&title), (200, Value::Null));
    assert_eq!(choose(&json!("sd_xl")).0, 400);
}
