//! How the server ends, and that clients cannot keep it.
#![cfg(unix)]

use std::io::{Read, Write};

use serde_json::json;

use super::stream::Streaming;
use super::*;

/// What is being made is finished, and what waits is told.
#[test]
fn signals_end_it_gracefully() {
    let world = World::new();
    for signal in ["-INT", "-TERM"] {
        let mut server = start(&world, &["--max-steps", "1000", "--batch", "1"]);
        let long = json!({"prompt": "a dog", "steps": 300, "stream": true});
        let mut first = Streaming::begin(&server, &long);
        assert!(first.any(|event| event["type"] == "hyperalign.progress"));
        let waiting = Streaming::begin(&server, &long);
        let body = json!({"prompt": "a dog"}).to_string();
        let mut plain = server.connect();
        let head = server.head("POST", GENERATIONS, "", body.len());
        plain.write_all((head + &body).as_bytes()).unwrap();
        until("all to wait", || get(&server, "/health")["waiting"] == 3);
        server.signal(signal);
        let last = waiting.last().unwrap();
        assert!(last["error"]["message"].as_str().unwrap().contains("being stopped"), "{last}");
        let mut answer = String::new();
        plain.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: 10"), "{answer}");
        assert_eq!(first.last().unwrap()["type"], "image_generation.completed", "{signal}");
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

/// Nobody has to wait longer than the server says.
#[test]
fn a_request_that_takes_too_long_is_told() {
    let world = World::new();
    let server = start(&world, &["--max-steps", "1000", "--timeout", "1", "--batch", "1"]);
    let long = json!({"prompt": "a dog", "steps": 999, "n": 10});
    let (status, answer) = ask(&server, GENERATIONS, &long);
    assert_eq!(status, 503, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("within 1 seconds"), "{answer}");
    let mut streamed = long.clone();
    streamed["stream"] = true.into();
    let last = Streaming::begin(&server, &streamed).last().unwrap();
    assert!(last["error"]["message"].as_str().unwrap().contains("within 1 seconds"), "{last}");
    until("its work to end", || metric(&server, "queue_pictures") == 0.0);
}

#[test]
fn clients_that_never_end_do_not_keep_it() {
    let world = World::new();
    let mut server = start(&world, &[]);
    let mut head = server.connect();
    head.write_all(b"POST /v1/images/gen").unwrap();
    let idle = server.connect();
    server.signal("-INT");
    let begin = std::time::Instant::now();
    let ended = loop {
        match server.child.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(begin.elapsed().as_secs() < 45, "it is still there"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(ended.code(), Some(0));
    drop((head, idle));
}
