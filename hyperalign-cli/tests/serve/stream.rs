//! Requests that are answered while they are made.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use hyperalign_core::image::decode_picture;
use serde_json::json;

use super::*;

/// A request on its way.
pub struct Streaming(BufReader<TcpStream>);

impl Streaming {
    pub fn begin(server: &Server, body: &Value) -> Self {
        let body = body.to_string();
        let mut stream = server.connect();
        let head = server.head("POST", GENERATIONS, "", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }
}

impl Iterator for Streaming {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let is = |event: &&Value| event["type"].as_str().is_some_and(|name| name.ends_with(kind));
    events.iter().filter(is).collect()
}

#[test]
fn progress_and_previews_come_before_the_pictures() {
    let world = World::new();
    let server = start(&world, &[]);
    let body = json!({"prompt": "a dog", "seed": 4, "n": 2, "steps": 8});
    let expected = pictures(&server, &body);
    let mut streamed = body.clone();
    let more = json!({"stream": true, "partial_images": 3});
    streamed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let events: Vec<Value> = Streaming::begin(&server, &streamed).collect();
    let completed: Vec<_> =
        of(&events, ".completed").iter().map(|e| file(&e["b64_json"])).collect();
    assert!(completed == expected);
    assert!(events.last().unwrap()["type"] == "image_generation.completed");
    // Who reads slowly misses some, but the steps come in their order.
    let steps: Vec<_> = of(&events, ".progress").iter().map(|e| e["step"].as_u64()).collect();
    assert!(!steps.is_empty() && steps.is_sorted(), "{steps:?}");
    let previews = of(&events, ".partial_image");
    assert!(!previews.is_empty());
    for preview in previews {
        let picture = decode_picture(&file(&preview["b64_json"])).unwrap();
        assert_eq!(picture.dimensions(), (8, 8));
        assert!(preview["partial_image_index"].as_u64().unwrap() < 3, "{preview}");
    }
}

/// Places in line are told, and go down.
#[test]
fn who_waits_is_told_their_place() {
    let world = World::new();
    let server = start(&world, &["--batch", "1", "--max-steps", "1000"]);
    let long = json!({"prompt": "a dog", "steps": 300, "stream": true});
    let mut first = Streaming::begin(&server, &long);
    assert!(first.any(|event| event["type"] == "hyperalign.progress"));
    let second = Streaming::begin(&server, &long);
    until("the second", || get(&server, "/health")["waiting"] == 2);
    let third = Streaming::begin(&server, &long);
    let places = |streaming: Streaming| -> Vec<u64> {
        let events: Vec<Value> = streaming.collect();
        assert_eq!(of(&events, ".completed").len(), 1);
        of(&events, ".queued").iter().map(|event| event["position"].as_u64().unwrap()).collect()
    };
    let third = std::thread::spawn(move || places(third));
    assert_eq!(places(second), [1]);
    assert_eq!(third.join().unwrap(), [2, 1]);
    let progress = get(&server, "/sdapi/v1/progress");
    assert_eq!((&progress["progress"], &progress["state"]["job_count"]), (&json!(0.0), &json!(0)));
}

/// A front end of the web UI asks beside the request how far it is, and sees it.
#[test]
fn who_looks_on_sees_previews() {
    let world = World::new();
    let server = start(&world, &["--max-steps", "1000"]);
    let long = json!({"prompt": "a dog", "steps": 900, "stream": true});
    let mut streaming = Streaming::begin(&server, &long);
    assert!(streaming.any(|event| event["type"] == "hyperalign.progress"));
    let path = "/sdapi/v1/progress?skip_current_image=true";
    assert!(get(&server, path)["current_image"].is_null());
    until("a preview", || {
        let progress = get(&server, "/sdapi/v1/progress");
        let part = progress["progress"].as_f64().unwrap();
        assert!(part > 0.0, "the picture is done: {progress}");
        !progress["current_image"].is_null()
    });
    let preview = file(&get(&server, "/sdapi/v1/progress")["current_image"]);
    assert_eq!(decode_picture(&preview).unwrap().dimensions(), (8, 8));
}

/// Who goes away costs nothing more, whether they have asked for a stream or not.
#[test]
fn a_client_that_leaves_ends_its_work() {
    let world = World::new();
    let server = start(&world, &["--max-steps", "1000"]);
    let long = json!({"prompt": "a dog", "steps": 999, "stream": true});
    let mut streaming = Streaming::begin(&server, &long);
    assert!(streaming.any(|event| event["type"] == "hyperalign.progress"));
    drop(streaming);
    let left = "requests_total{result=\"left\"}";
    until("the first to be missed", || metric(&server, left) == 1.0);

    let body = json!({"prompt": "a dog", "steps": 999}).to_string();
    let mut stream = server.connect();
    let head = server.head("POST", GENERATIONS, "", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
    until("its work", || get(&server, "/sdapi/v1/progress")["state"]["sampling_step"] != 0);
    drop(stream);
    until("the second to be missed", || metric(&server, left) == 2.0);
    // What comes after them does not wait for their thousand steps.
    assert_eq!(pictures(&server, &json!({"prompt": "a dog"})).len(), 1);
    let steps = metric(&server, "steps_total");
    assert!(steps < 2000.0, "{steps} steps were taken");
    assert_eq!(metric(&server, "queue_pictures"), 0.0);
    assert_eq!(metric(&server, "pictures_total"), 1.0);
}
