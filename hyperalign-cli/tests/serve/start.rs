//! What the server cannot start with.

use super::openai::write_lora;
use super::*;
use crate::tiny::{write_adapter, write_base};

#[test]
fn each_mistake_is_one_clear_message() {
    let world = World::new();
    write_base(&world.path("other"), 2);
    write_adapter(&world.path("other.safetensors"), &world.path("other"));
    std::fs::create_dir(world.path("more")).unwrap();
    write_lora(&world, "style.safetensors");
    write_lora(&world, "more/style.safetensors");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let two = ["--lora", "style.safetensors", "--lora", "more/style.safetensors"];
    for (arguments, words) in [
        (&["--port", &port][..], "choose another port"),
        (&["--adapter", "other.safetensors"], "trained on"),
        (&["--adapter", "missing.safetensors"], "missing.safetensors"),
        (&["--variant", "s"], "`--variant s` needs an adapter"),
        (&two, "two LoRA files are called `style`"),
        (&["--api-key", ""], "the API key is empty"),
        (&["--api-key", "two words"], "a header cannot carry"),
        (&["--host", "no.such.host.invalid"], "no address of this machine"),
        (&["--scheduler", "flow-euler"], "flow"),
        (&["--steps", "100000"], "100000"),
        (&["--max-side", "99999999"], "take a smaller one"),
    ] {
        let port = if arguments.contains(&"--port") { &[][..] } else { &["--port", "0"] };
        let output = world.run(&[&["serve", "--base", "base"], port, arguments].concat());
        let text = message(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert!(!text.contains("listening"), "{arguments:?}: {text}");
    }
}
