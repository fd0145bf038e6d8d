//! A run that is looked at while it goes on.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::{fresh, train};

/// The page is served from before the first update on, and kept; the events are there at the end.
#[test]
fn a_run_is_shown_while_it_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let (dir, config) = fresh(root.path(), "run");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let arguments = ["--config", &config, "--no-eval", "--serve-report", &port];
    let output = train(&dir, &arguments).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("choose another port"), "{message}");
    assert!(!dir.join("config.toml").exists(), "nothing has begun");

    let arguments = ["--config", &config, "--no-eval", "--serve-report", "0", "--tensorboard"];
    let mut child = train(&dir, &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        line.unwrap().split("http://").nth(1).map(|address| address.trim().to_owned())
    });
    let address = address.expect("it says where");
    let ask = |host: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // A page of elsewhere that was given a name to come in by.
    assert!(ask("elsewhere.example").starts_with("HTTP/1.1 403"));
    let answer = ask(&address);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("refresh: "), "{answer}");
    assert!(answer.contains("Training in"), "{answer}");
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());

    let page = fs::read_to_string(dir.join("report/live.html")).unwrap();
    for part in ["6 updates in", "<svg", "Pictures after so many updates", "Watch"] {
        assert!(page.contains(part), "no `{part}` in the page");
    }
    let events = fs::read_dir(dir.join("tensorboard")).unwrap().next().unwrap().unwrap();
    let events = fs::read(events.path()).unwrap();
    let has = |tag: &[u8]| events.windows(tag.len()).any(|part| part == tag);
    assert!(has(b"loss/total") && has(b"samples") && has(b"watch/trained"));
    // The same from the folder, later.
    let output = Command::new(env!("CARGO_BIN_EXE_hyperalign"))
        .args(["report", "run", "--tensorboard", "events"])
        .current_dir(root.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(fs::read(root.path().join(written)).unwrap().len(), events.len());
}
