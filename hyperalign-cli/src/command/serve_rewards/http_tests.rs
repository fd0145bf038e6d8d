//! Requests to a server of a reward that looks at no prompt.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyperalign_core::image::{Metadata, encode_png};
use hyperalign_core::stop::Stop;
use hyperalign_core::testing::{self, Brightness};
use image::{Rgb, RgbImage};
use serde_json::json;

use super::{http::App, metrics::Metrics, queue::Queue};
use crate::{rewards::Judges, server};

fn ask(address: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// In Flow-GRPO's protocol and in plain JSON.
#[test]
fn pictures_alone_are_scored() {
    let judges = Arc::new(Judges::of(vec![Arc::new(Brightness)], &testing::device()));
    let metrics = Arc::new(Metrics::default());
    let (queue, worker) = Queue::new(judges.clone(), metrics.clone(), 4, 2).unwrap();
    let app = App::new(judges, queue, metrics, 1 << 20);
    let stop = Stop::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async { server::listen(([127, 0, 0, 1], 0).into()) }).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = runtime.spawn(server::serve(listener, app.router(), stop.clone()));

    let white = RgbImage::from_pixel(8, 8, Rgb([255; 3]));
    let file = encode_png(&white, &Metadata::default());
    let body = json!({"images": [BASE64_STANDARD.encode(&file)]}).to_string();
    let answer = ask(&address, "/v1/score", body.as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("{\"brightness\":[1.0]}"), "{answer}");

    // {"images": [file]} in protocol 3.
    let head = b"\x80\x03}(X\x06\x00\x00\x00images](B".to_vec();
    let length = (file.len() as u32).to_le_bytes().to_vec();
    let answer = ask(&address, "/", &[head, length, file, b"eu.".to_vec()].concat());
    let shown = String::from_utf8_lossy(&answer);
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    // {"outputs": [1.0]}
    let outputs = [b"outputs](G", &1f64.to_be_bytes()[..], b"eu."].concat();
    assert!(answer.ends_with(&outputs), "{shown}");

    stop.request();
    runtime.block_on(server).unwrap();
    drop(runtime);
    worker.join().unwrap();
}
