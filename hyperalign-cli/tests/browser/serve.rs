//! The page of `hyperalign serve`.

use std::path::Path;

use crate::chromium::{self, Page};
use crate::client::Server;
use crate::tiny::{World, write_adapter};

/// All that a picture has when it is done.
const DONE: &str = "document.querySelectorAll('.tools').length";

#[test]
fn a_picture_is_made_by_clicking_and_by_keys() {
    let Some(program) = chromium::find() else {
        eprintln!("left out: no Chromium here; install it, or name one in HYPERALIGN_BROWSER");
        return;
    };
    let world = World::new();
    write_adapter(&world.path("adapter.safetensors"), &world.path("base"));
    let arguments = ["--base", "base", "--adapter", "adapter.safetensors", "--steps", "6"];
    let server = Server::start("serve", &world.path("."), &arguments);
    for (size, scheme) in
        [([390, 844], "light"), ([390, 844], "dark"), ([1280, 800], "light"), ([1280, 800], "dark")]
    {
        let mut page = Page::open(&program, size, scheme);
        make(&mut page, &server.address, size[0]);
        let name = format!("serve-{}-{scheme}.png", size[0]);
        page.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(name));
    }
}

fn make(page: &mut Page, address: &str, width: u32) {
    page.go(&format!("http://{address}/"));
    // What there is to choose comes from the server: the base, S, P and I.
    page.until("document.querySelectorAll('#variants input').length === 4");
    page.click("#prompt");
    page.type_text("a red dog");
    page.click("#seed");
    page.type_text("7");
    page.click("#variants input[value='p']");
    page.click("#make");
    // The base and S, as the adapter was trained, and P, which was clicked.
    page.until(&format!("{DONE} === 3"));
    page.until("document.querySelector('#status').textContent === 'done'");
    let names =
        "[...document.querySelectorAll('figcaption strong')].map((name) => name.textContent)";
    let expected = serde_json::json!(["base", "HyperAlign-S", "HyperAlign-P"]);
    assert_eq!(page.value(names), expected);
    page.until("[...document.images].every((image) => image.naturalWidth === 8)");
    page.click(".tools button[aria-expanded]");
    page.until("document.querySelector('pre').checkVisibility()");
    let parameters = page.value("document.querySelector('pre').textContent");
    let parameters = parameters.as_str().unwrap();
    assert!(parameters.starts_with("a red dog\nSteps: 6, "), "{parameters}");
    assert!(parameters.contains("Seed: 7, "), "{parameters}");

    // The same by keys alone, from the prompt, which has the focus at the start.
    page.value("document.querySelector('#prompt').focus()");
    page.press("Enter", 13, true);
    page.until(&format!("{DONE} === 6"));

    // What cannot be made is told where one looks.
    page.value("document.querySelector('#prompt').select()");
    page.type_text("a gryphon");
    assert_eq!(page.complaints, Vec::<String>::new());
    page.click("#make");
    page.until("document.querySelector('#status.wrong')?.textContent.includes('gryphon') === true");
    page.until("document.querySelector('#make').disabled === false");
    assert_eq!(page.value("document.documentElement.scrollWidth"), width, "nothing is cut off");
    // All that a finger must hit is large enough for one.
    let small = "[...document.querySelectorAll('button, input, select, textarea, summary')]\
                 .filter((e) => e.checkVisibility() && e.closest('label, button, div, form, details'))\
                 .filter((e) => (e.closest('label') ?? e).getBoundingClientRect().height < 32)\
                 .map((e) => e.outerHTML)";
    assert_eq!(page.value(small), serde_json::json!([]));
}
