//! Pictures in the shape of OpenAI's images API.

use hyperalign_core::testing;
use hyperalign_models::{
    base::Adaptable,
    hypernet::Adapter,
    lora::{Convention, Factor, Float, LoraFile, Part, Update},
    testing::{shaken, small_base},
};
use serde_json::json;

use crate::tiny::write_adapter;

use super::*;

/// Writes a LoRA of all layers of the network.
pub fn write_lora(world: &World, name: &str) {
    let layers = small_base(1, &testing::device()).lora_layers().unwrap();
    let own = layers.all().iter().enumerate().filter(|(_, layer)| layer.part == Part::Denoiser);
    let updates = own.map(|(i, layer)| {
        let factor = |rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|k| 0.3 * ((7 * i + k * k) as f32).sin());
            Factor { rows, columns, values: values.collect(), float: Float::F32 }
        };
        let (down, up) = (factor(1, layer.d_input()), factor(layer.d_output(), 1));
        (i, Update { down, up, alpha: 1.0 })
    });
    let updates = updates.collect();
    let (name, conventions, metadata) = (name.to_owned(), Default::default(), Default::default());
    let file = LoraFile { name: name.clone(), conventions, updates, metadata };
    file.write(&world.path(&name), &layers, Convention::Kohya).unwrap();
}

/// Writes an adapter that changes pictures, as a trained one does.
fn write_trained(world: &World, name: &str) {
    write_adapter(&world.path(name), &world.path("base"));
    let (adapter, meta) = Adapter::load(&world.path(name), &testing::device()).unwrap();
    shaken(adapter, 0.3).save(&world.path(name), &meta).unwrap();
}

/// What comes over HTTP is the file that `sample` writes, to the last byte, with all that it says.
#[test]
fn pictures_are_those_that_sample_writes() {
    let world = World::new();
    write_trained(&world, "adapter.safetensors");
    write_lora(&world, "style.safetensors");
    let adapter = ["--adapter", "adapter.safetensors"];
    let server = start(&world, &[&adapter[..], &["--lora", "style.safetensors=0"]].concat());
    let dog = ["--prompt", "a red dog", "--seed", "7"];
    for (more, flags) in [
        (json!({"variant": "base"}), &[][..]),
        (json!({"variant": "i"}), &["--adapter", "adapter.safetensors", "--variant", "i"]),
        (json!({}), &["--adapter", "adapter.safetensors"]),
        (json!({"variant": "base", "loras": {"style": 0.5}}), &["--lora", "style.safetensors=0.5"]),
        (
            json!({"variant": "base", "size": "16x8", "steps": 3, "guidance": 2.5, "scheduler": "euler-a",
                "eta": 0.5, "negative_prompt": "a blue heart"}),
            &[
                "--size",
                "8x16",
                "--steps",
                "3",
                "--guidance",
                "2.5",
                "--scheduler",
                "euler-a",
                "--eta",
                "0.5",
                "--negative",
                "a blue heart",
            ],
        ),
    ] {
        let mut body = json!({"prompt": "a red dog", "seed": 7});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let expected = match flags.contains(&"--steps") {
            false => sampled(&world, &[&dog[..], flags].concat()),
            true => {
                let own = ["sample", "--base", "base", "--out", "sampled.png"];
                let output = world.run(&[&own[..], &dog, flags].concat());
                assert!(output.status.success(), "{}", message(&output));
                std::fs::read(world.path("sampled.png")).unwrap()
            }
        };
        assert!(pictures(&server, &body) == [expected], "{body}");
    }
}

#[test]
fn several_pictures_have_seeds_in_a_row() {
    let world = World::new();
    let server = start(&world, &[]);
    let (status, answer) =
        ask(&server, GENERATIONS, &json!({"prompt": "a dog", "n": 5, "seed": 3, "model": "base"}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["size"], &answer["variant"]), (&json!("8x8"), &json!("base")));
    for (k, picture) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!(picture["seed"], 3 + k);
        let words = picture["parameters"].as_str().unwrap();
        assert!(words.starts_with("a dog\nSteps: 2, "), "{words}");
        let alone = pictures(&server, &json!({"prompt": "a dog", "seed": 3 + k}));
        assert!(alone == [file(&picture["b64_json"])], "picture {k}");
    }
    assert_eq!(answer["data"].as_array().unwrap().len(), 5);
    // Nobody gave a seed: the answer says which it was.
    let (_, answer) = ask(&server, GENERATIONS, &json!({"prompt": "a dog"}));
    let seed = answer["data"][0]["seed"].as_u64().unwrap();
    let again = pictures(&server, &json!({"prompt": "a dog", "seed": seed}));
    assert!(again == [file(&answer["data"][0]["b64_json"])]);
}

/// Requests that arrive together are made together, and nobody can tell.
#[test]
fn requests_share_batches_and_no_bits() {
    let world = World::new();
    let server = start(&world, &["--batch", "8"]);
    let prompts = ["a red dog", "a blue heart", "a dog", "a heart"];
    let body = |k: usize| json!({"prompt": prompts[k % 4], "seed": k});
    let alone: Vec<_> = (0..16).map(|k| pictures(&server, &body(k))).collect();
    assert_eq!(metric(&server, "batches_total"), 16.0);
    let together: Vec<_> = std::thread::scope(|scope| {
        let ask = |k| {
            let server = &server;
            scope.spawn(move || pictures(server, &body(k)))
        };
        let threads: Vec<_> = (0..16).map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (k, (alone, together)) in alone.iter().zip(&together).enumerate() {
        assert!(alone == together, "picture {k}");
    }
    let batches = metric(&server, "batches_total") - 16.0;
    assert!(batches < 12.0, "{batches} batches for 16 pictures");
    assert_eq!(metric(&server, "pictures_total"), 32.0);
}

#[test]
fn what_cannot_be_made_is_refused_with_a_reason() {
    let world = World::new();
    write_lora(&world, "style.safetensors");
    let server = start(&world, &["--lora", "style.safetensors"]);
    for (more, words) in [
        (json!({"prompt": "a gryphon"}), "gryphon"),
        (json!({"prompt": "dog ".repeat(5000)}), "at most 10000 are taken"),
        (json!({"n": 0}), "0 pictures were asked for; from 1 to 10"),
        (json!({"n": 11}), "from 1 to 10"),
        (json!({"n": u64::MAX}), "from 1 to 10"),
        (json!({"steps": 151}), "from 1 to 150"),
        (json!({"steps": 0}), "from 1 to 150"),
        (json!({"guidance": 1e30}), "from -100 to 100"),
        (json!({"size": "99999999x8"}), "at most 16 are made"),
        (json!({"size": "18446744073709551615x18446744073709551615"}), "at most 16"),
        (json!({"size": "7x8"}), "multiples of 2"),
        (json!({"size": "0x8"}), "multiples of 2"),
        (json!({"seed": u64::MAX}), "has no 1 seeds"),
        (json!({"variant": "s"}), "started without one"),
        (json!({"variant": "x"}), "there are base, s, p, i"),
        (json!({"loras": ["styel"]}), "did you mean `style`?"),
        (json!({"loras": ["../../etc/passwd"]}), "there is no LoRA"),
        (json!({"loras": ["style", "style"]}), "there twice"),
        (json!({"loras": {"style": 1e9}}), "from -100 to 100"),
        (json!({"scheduler": "flow-euler"}), "flow"),
        (json!({"eta": 7}), "eta"),
        (json!({"negative_prompt": "a dog", "guidance": 1}), "no meaning here"),
        (json!({"stream": true, "partial_images": 11}), "from 0 to 10"),
        (json!({"promt": "x"}), "did you mean `prompt`?"),
    ] {
        let mut body = json!({"prompt": "a dog"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = ask(&server, GENERATIONS, &body);
        assert_eq!(status, 400, "{more}: {answer}");
        let reason = answer["error"]["message"].as_str().unwrap();
        assert!(reason.contains(words) && reason.len() < 400, "{more}: {reason}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    for body in [&b"{"[..], b"", b"[]", b"\xff\xfe", b"null"] {
        assert_eq!(server.ask("POST", GENERATIONS, body).0, 400);
    }
    let long = json!({"prompt": "a red dog a red dog a red dog"});
    let (status, answer) = ask(&server, GENERATIONS, &long);
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(status == 200 && warning.contains("cut off"), "{warning}");
    assert_eq!(metric(&server, "requests_total{result=\"refused\"}"), 29.0);
    let models = get(&server, "/v1/models");
    assert_eq!(models["data"][0]["id"], "base");
    assert_eq!(models["data"][0]["loras"], json!({"style": 1.0}));
    assert_eq!(models["data"][0]["variants"], json!(["base"]));
}
