//! Very many clients at once.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Barrier};

use serde_json::json;

use super::*;

/// A thousand clients at once, some of them broken: each gets its picture, or a reason why not; the
/// server takes a bounded amount of memory, and goes on.
#[test]
fn a_thousand_clients_at_once() {
    const CLIENTS: usize = 1000;
    let world = World::new();
    let server = start(&world, &["--queue", "200", "--batch", "32"]);
    let body = |k: usize| match k % 10 {
        0 => json!({"prompt": "a gryphon"}).to_string(),
        1 => "{\"prompt\": \"a do".to_owned(),
        _ => json!({"prompt": "a red dog", "seed": k, "steps": 1}).to_string(),
    };
    let answers: Vec<(usize, u16, Value)> = std::thread::scope(|scope| {
        let start = Arc::new(Barrier::new(CLIENTS));
        let ask = |k: usize| {
            let (server, start) = (&server, start.clone());
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            let client = move || {
                let body = body(k);
                start.wait();
                let (status, _, answer) = server.ask("POST", GENERATIONS, body.as_bytes());
                (k, status, serde_json::from_slice(&answer).unwrap())
            };
            builder.spawn_scoped(scope, client).unwrap()
        };
        let threads: Vec<_> = (0..CLIENTS).map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut counts = BTreeMap::<u16, usize>::new();
    for (k, status, answer) in &answers {
        *counts.entry(*status).or_default() += 1;
        let expected: &[u16] = if k % 10 < 2 { &[400] } else { &[200, 429] };
        assert!(expected.contains(status), "client {k}: {status} {answer}");
        match status {
            200 => assert_eq!(answer["data"][0]["seed"], *k),
            _ => assert!(!answer["error"]["message"].as_str().unwrap().is_empty()),
        }
    }
    eprintln!("answers by status: {counts:?}");
    assert!(counts[&200] >= 200, "{counts:?}");
    // One of them again, alone: the crowd has changed no bit of it.
    let (k, _, crowded) = answers.iter().find(|(_, status, _)| *status == 200).unwrap();
    let alone = pictures(&server, &json!({"prompt": "a red dog", "seed": k, "steps": 1}));
    assert!(alone == [file(&crowded["data"][0]["b64_json"])]);
    assert_eq!(metric(&server, "pictures_total"), counts[&200] as f64 + 1.0);
    until("all places to be free", || metric(&server, "queue_pictures") == 0.0);
    #[cfg(target_os = "linux")]
    {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        eprintln!("the server took {} MiB at most", kibibytes >> 10);
        assert!(kibibytes < 1 << 20, "{kibibytes} KiB");
    }
}

/// Clients that send half of a request and wait take no one else's place.
#[test]
fn slow_clients_do_not_keep_others_waiting() {
    let world = World::new();
    let server = start(&world, &[]);
    let slow: Vec<_> = (0..300)
        .map(|k| {
            let mut stream = server.connect();
            let head = server.head("POST", GENERATIONS, "", 1000);
            let half = [head.as_bytes(), b"{\"prompt\": \"a"].concat();
            stream.write_all(if k % 2 == 0 { &half } else { b"POST /v1" }).unwrap();
            stream
        })
        .collect();
    let begin = std::time::Instant::now();
    assert_eq!(pictures(&server, &json!({"prompt": "a dog"})).len(), 1);
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
    assert_eq!(get(&server, "/health")["waiting"], 0);
    drop(slow);
}
