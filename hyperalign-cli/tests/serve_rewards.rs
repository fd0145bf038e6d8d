//! `hyperalign serve-rewards` from the outside: good requests, bad ones, and very many.

#![cfg(feature = "serve")]

mod client;

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyperalign_core::image::{Metadata, encode_png};
use image::RgbImage;
use serde_json::{Value, json};

use client::Server;

fn start(arguments: &[&str]) -> Server {
    Server::start("serve-rewards", Path::new("."), arguments)
}

fn score(server: &Server, question: &Value) -> (u16, Value) {
    let (status, _, body) = server.ask("POST", "/v1/score", question.to_string().as_bytes());
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn picture(k: u8) -> Vec<u8> {
    let picture = RgbImage::from_fn(64, 64, |x, _| image::Rgb([k, x as u8, 90]));
    encode_png(&picture, &Metadata::default())
}

fn question(pictures: &[Vec<u8>], prompt: &str) -> Value {
    let images: Vec<String> = pictures.iter().map(|file| BASE64_STANDARD.encode(file)).collect();
    json!({"images": images, "prompt": prompt})
}

/// GenEval's rows come with the pictures, and pictures without them are refused.
#[test]
fn genevals_rules_come_with_the_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    hyperalign_models::testing::write_geneval(folder.path(), &["dog", "car"], 0);
    let weights = folder.path().to_str().expect("a path");
    let server = start(&["--reward", "geneval", "--reward-weights", weights]);
    let row = |class: &str| json!({"tag": "single_object", "include": [{"class": class, "count": 1}], "prompt": class});
    let mut question = question(&[picture(1), picture(2)], "a dog");
    let (status, answer) = score(&server, &question);
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("has none"), "{answer}");
    question.as_object_mut().unwrap().remove("prompt");
    question["metadata"] = json!([row("dog"), row("car")]);
    let (status, answer) = score(&server, &question);
    assert_eq!((status, &answer["scores"]["geneval"]), (200, &json!([1.0, 0.0])), "{answer}");
    for (rows, words) in [
        (json!([row("dog"), row("cat")]), "`cat`"),
        (json!([row("dog"), {"tag": "colors"}]), "metadata 1"),
        (json!([row("dog")]), "one for each picture"),
    ] {
        question["metadata"] = rows;
        let (status, answer) = score(&server, &question);
        assert_eq!(status, 422, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
}

#[test]
fn scores_are_those_of_every_reward_and_bad_requests_are_refused() {
    let server = start(&["--reward", "emoji-proxy", "--reward", "gold"]);
    let (status, answer) = score(&server, &question(&[picture(1), picture(2)], "a dog"));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["scores"]["emoji-proxy"].as_array().unwrap().len(), 2);
    assert_eq!(answer["scores"]["gold"], json!([0.0, 0.0]));
    assert_eq!(answer["rewards"][0]["name"], "emoji-proxy");
    // One by one they are the same: what shares a batch does not mix.
    let (_, alone) = score(&server, &question(&[picture(2)], "a dog"));
    let of = |answer: &Value, k: usize| answer["scores"]["emoji-proxy"][k].as_f64().unwrap();
    assert!((of(&alone, 0) - of(&answer, 1)).abs() < 1e-4);

    for (question, status, words) in [
        (json!({"images": ["?"], "prompt": "a dog"}), 422, "picture 0"),
        (question(&[b"no picture".to_vec()], "a dog"), 422, "PNG, JPEG or WebP"),
        (question(&[picture(1)[..60].to_vec()], "a dog"), 422, "cut off"),
        (question(&[picture(1)], "a gryphon"), 422, "gryphon"),
        (question(&[picture(1)], &"dog ".repeat(10_000)), 422, "10000 words"),
        (question(&[], "a dog"), 422, "no picture"),
        (json!({"images": [""], "prompts": []}), 422, "one for each picture"),
        (json!({"images": [""]}), 422, "one for each picture"),
        (json!({"pictures": []}), 400, "a key that is none of these"),
        (json!({"images": BASE64_STANDARD.encode(picture(1))}), 400, "`images` is no list"),
    ] {
        let (found, answer) = score(&server, &question);
        assert_eq!(found, status, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
    assert_eq!(server.ask("POST", "/v1/score", b"{").0, 400);
    for (path, status, words) in [("/v1/score", 405, "POST"), ("/nothing", 404, "/v1/score")] {
        let (found, _, body) = server.ask("GET", path, b"");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(found, status);
        assert!(body["error"].as_str().unwrap().contains(words), "{body}");
    }
    // As Python's `encodebytes` writes it.
    let encoded = BASE64_STANDARD.encode(picture(2));
    let lines: Vec<_> = encoded.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    let (status, broken) =
        score(&server, &json!({"images": [lines.join("\n") + "\n"], "prompt": "a dog"}));
    assert_eq!((status, of(&broken, 0)), (200, of(&alone, 0)));
    assert_eq!(server.ask("POST", "/", b"\x80\x04.").0, 400);
    assert_eq!(server.ask("POST", "/", b"\x80\x02NN(\x86t.").0, 400);
    assert_eq!(server.ask("POST", "/flow-grpo/nobody", b"").0, 404);

    let (status, _, health) = server.ask("GET", "/health", b"");
    let health: Value = serde_json::from_slice(&health).unwrap();
    assert_eq!((status, &health["status"], &health["waiting"]), (200, &"ok".into(), &0.into()));
    let (_, _, metrics) = server.ask("GET", "/metrics", b"");
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("hyperalign_requests_total{result=\"answered\"} 3"), "{metrics}");
    assert!(metrics.contains("hyperalign_pictures_total 4"), "{metrics}");
}

#[test]
fn flow_grpo_gets_what_it_asks_for() {
    let server = start(&["--reward", "emoji-proxy", "--reward", "gold"]);
    let file = picture(3);
    // {"images": [file], "prompts": ["a dog"]} in protocol 3.
    let mut pickle = b"\x80\x03}(X\x06\x00\x00\x00images](B".to_vec();
    pickle.extend((file.len() as u32).to_le_bytes());
    pickle.extend(&file);
    pickle.extend(b"eX\x07\x00\x00\x00prompts](X\x05\x00\x00\x00a dogeu.");
    let expected = score(&server, &question(&[file], "a dog")).1;
    for (path, name) in [("/", "emoji-proxy"), ("/flow-grpo/gold", "gold")] {
        let (status, head, body) = server.ask("POST", path, &pickle);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        assert!(head.contains("application/octet-stream"));
        assert!(body.windows(7).any(|window| window == b"outputs"));
        // {"outputs": [number]}: the number stands before the five bytes of the end.
        let number: [u8; 8] = body[body.len() - 11..body.len() - 3].try_into().unwrap();
        let found = f64::from_be_bytes(number);
        let expected = expected["scores"][name][0].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    }
}

/// A thousand requests at once, a third of them bad: every one is answered, and the server stays.
#[test]
fn a_thousand_requests_at_once() {
    let server = start(&["--reward", "emoji-proxy", "--batch", "64"]);
    let good = question(&[picture(1)], "a dog");
    let bad = question(&[b"no picture".to_vec()], "a dog");
    let statuses: Vec<(usize, u16)> = std::thread::scope(|scope| {
        let start = std::sync::Arc::new(std::sync::Barrier::new(1000));
        let ask = |k: usize| {
            let (server, good, bad, start) = (&server, &good, &bad, start.clone());
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            let thread = builder.spawn_scoped(scope, move || {
                start.wait();
                (k, score(server, if k.is_multiple_of(3) { bad } else { good }).0)
            });
            thread.expect("a thread")
        };
        let threads: Vec<_> = (0..1000).map(ask).collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    for (k, status) in statuses {
        assert_eq!(status, if k % 3 == 0 { 422 } else { 200 }, "request {k}");
    }
    assert_eq!(server.ask("GET", "/health", b"").0, 200);
    let metrics = String::from_utf8(server.ask("GET", "/metrics", b"").2).unwrap();
    let batches = metrics.lines().find_map(|line| line.strip_prefix("hyperalign_batches_total "));
    let batches: u32 = batches.unwrap().parse().unwrap();
    assert!(batches < 600, "requests share batches: {batches} for 666 pictures");
}

#[test]
fn a_full_queue_and_a_large_body_turn_requests_away() {
    let server = start(&["--reward", "gold", "--queue", "2", "--max-body", "1"]);
    let (status, answer) = score(&server, &question(&vec![picture(1); 3], "a dog"));
    assert_eq!(status, 413, "{answer}");
    let large = vec![b'x'; (1 << 20) + 1];
    assert_eq!(server.ask("POST", "/v1/score", &large).0, 413);
    assert_eq!(score(&server, &question(&vec![picture(1); 2], "a dog")).0, 200);
}

/// What is said once and meant a thousand times is not copied before it is known to be small.
#[test]
fn little_that_stands_for_much_is_refused() {
    let server = start(&["--reward", "gold"]);
    let prompt = "dog ".repeat(1 << 18);
    let (status, answer) = score(&server, &json!({"images": vec![""; 2000], "prompt": prompt}));
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("at most 65536 are taken"), "{answer}");
    let (status, answer) = score(&server, &json!({"images": [""], "prompts": [prompt]}));
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("at most 65536 are taken"), "{answer}");
    // Lists of one picture and of one prompt, each remembered and recalled.
    let pickle = |count: usize, prompt: &str| {
        let mut pickle = b"\x80\x03}(X\x06\x00\x00\x00images](C\x02??q\x00".to_vec();
        pickle.extend(b"h\x00".repeat(count - 1));
        pickle.extend(b"eX\x07\x00\x00\x00prompts](X");
        pickle.extend((prompt.len() as u32).to_le_bytes());
        pickle.extend([prompt.as_bytes(), b"q\x01"].concat());
        pickle.extend(b"h\x01".repeat(count - 1));
        pickle.extend(b"eu.");
        pickle
    };
    assert_eq!(server.ask("POST", "/", &pickle(2000, &prompt)).0, 422);
    assert_eq!(server.ask("POST", "/", &pickle(100_000, "a dog")).0, 413);
    assert_eq!(server.ask("GET", "/health", b"").0, 200);
}

/// What has come in part is waited for and answered.
#[cfg(unix)]
#[test]
fn signals_end_it_gracefully() {
    for signal in ["-INT", "-TERM"] {
        let mut server = start(&["--reward", "gold"]);
        assert_eq!(score(&server, &question(&[picture(1)], "a dog")).0, 200);
        let body = question(&[picture(2)], "a dog").to_string();
        let mut stream = server.connect();
        let head =
            format!("POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("the server listens");
        stream.write_all(&body.as_bytes()[..9]).expect("the server listens");
        std::thread::sleep(Duration::from_millis(500));
        server.signal(signal);
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(&body.as_bytes()[9..]).expect("the server still listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{signal}: {answer}");
        assert_eq!(server.child.wait().expect("an end").code(), Some(0), "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_client_that_never_ends_its_request_does_not_keep_the_server() {
    let mut server = start(&["--reward", "gold"]);
    let mut stream = server.connect();
    stream.write_all(b"POST /v1/sc").expect("the server listens");
    std::thread::sleep(Duration::from_millis(300));
    server.signal("-INT");
    let begin = std::time::Instant::now();
    let ended = loop {
        match server.child.try_wait().expect("our own child") {
            Some(status) => break status,
            None => assert!(begin.elapsed() < Duration::from_secs(45), "it is still there"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(["serve-rewards", "--reward", "gold", "--port", &port])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another port"));
}
