//! Who may ask, and for how much.

use serde_json::json;

use super::*;

#[test]
fn a_key_is_asked_for() {
    let world = World::new();
    let server = start(&world, &["--api-key", "secret"]);
    let body = json!({"prompt": "a dog"}).to_string();
    let with = |headers: &str| server.ask_with("POST", GENERATIONS, headers, body.as_bytes());
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer other\r\n", 401),
        ("Authorization: Bearer secret\r\n", 200),
        ("Authorization: Basic dXNlcjpzZWNyZXQ=\r\n", 200),
    ] {
        let (found, _, answer) = with(headers);
        assert_eq!(found, status, "{headers}: {}", String::from_utf8_lossy(&answer));
    }
    let answer: Value = serde_json::from_slice(&with("").2).unwrap();
    assert_eq!(answer["error"]["code"], "invalid_api_key");
    let (status, _, answer) = server.ask("POST", "/sdapi/v1/txt2img", b"{}");
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(status == 401 && answer["detail"].as_str().unwrap().contains("--api-key"), "{answer}");
    for (path, status) in [("/", 200), ("/health", 200), ("/metrics", 401), ("/v1/models", 401)] {
        assert_eq!(server.ask("GET", path, b"").0, status, "{path}");
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let world = World::new();
    let server = start(&world, &[]);
    let body = json!({"prompt": "a dog"}).to_string();
    let ask = |headers: &str| server.ask_with("POST", GENERATIONS, headers, body.as_bytes()).0;
    assert_eq!(ask("Origin: https://evil.example\r\n"), 403);
    assert_eq!(ask(&format!("Origin: http://{}\r\n", server.address)), 200);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let world = World::new();
    let server = start(&world, &["--queue", "2", "--max-pictures", "3"]);
    let large = vec![b' '; (1 << 20) + 1];
    let (status, _, answer) = server.ask("POST", GENERATIONS, &large);
    assert_eq!(status, 413, "{}", String::from_utf8_lossy(&answer));
    let (status, answer) = ask(&server, GENERATIONS, &json!({"prompt": "a dog", "n": 3}));
    assert_eq!(status, 413, "{answer}");
    assert_eq!(pictures(&server, &json!({"prompt": "a dog", "n": 2})).len(), 2);
    for (method, path, status) in [
        ("GET", GENERATIONS, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/base/model_index.json", 404),
        ("GET", "/sdapi/v1/nothing", 404),
    ] {
        assert_eq!(server.ask(method, path, b"").0, status, "{method} {path}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let world = World::new();
    let server = start(&world, &[]);
    for (path, kind) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let (status, head, body) = server.ask("GET", path, b"");
        assert!(status == 200 && head.contains(kind), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        let text = String::from_utf8(body).unwrap();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
    }
}
