//! The server: what it tells, what it refuses, and how it ends.

use super::*;

/// What a voter's browser is sent for `paths`.
fn sent(server: &Server, paths: &[&str]) -> String {
    let mut all = String::new();
    for path in paths {
        let (status, head, body) = server.ask("GET", path, b"");
        assert_eq!(status, 200, "{path}");
        all += &(head + &String::from_utf8(body).unwrap());
    }
    all
}

#[test]
fn a_voter_learns_nothing_of_methods_and_checks() {
    let gallery = study();
    let server = serve(&gallery, &[]);
    let page = sent(&server, &["/", "/page.css", "/page.js"]);
    let told = sent(&server, &["/study", &format!("/voters/{:032x}", 5)]);
    for (all, words) in [
        (&page, &["theirs", "degraded"][..]),
        (&told, &["theirs", "ours", "method", "sha", "degraded"]),
    ] {
        for word in words {
            let found = all.find(word).map(|at| &all[at.saturating_sub(60)..]);
            assert_eq!(found, None, "{word}");
        }
    }
    // Nothing comes from elsewhere.
    assert!(!page.contains("http://") && !page.contains("https://"));
    let shown = get(&server, &format!("/voters/{:032x}", 5));
    let order: Vec<u64> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["item"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [5, 6, 7, 0, 1, 2, 3, 4]);
    for side in ["left", "right"] {
        let (status, head, body) = server.ask("GET", &format!("/pictures/3/{side}"), b"");
        assert_eq!((status, &body[1..4]), (200, &b"PNG"[..]));
        assert!(head.contains("content-type: image/png"), "{head}");
        assert_eq!(
            body,
            std::fs::read(gallery.path(&format!("made/pictures/3-{side}.png"))).unwrap()
        );
    }
}

#[test]
fn what_is_no_vote_of_the_study_is_refused_and_told_why() {
    let gallery = study();
    let server = serve(&gallery, &["--max-voters", "2"]);
    let good = vote(&gallery, 1, 0, "overall", "left");
    let with = |field: &str, value: Value| {
        let mut vote = good.clone();
        vote[field] = value;
        vote
    };
    for (vote, expected, words) in [
        (with("item", 8.into()), 400, "there is no item 8; they are 0 to 7"),
        (with("item", Value::from(-1)), 400, "that is no vote"),
        (with("question", "taste".into()), 400, "there are overall, visual, prompt"),
        (with("answer", "up".into()), 400, "`left`"),
        (with("voter", "me".into()), 400, "32 hexadecimal digits"),
        (with("study", "0123456789abcdef".into()), 409, "of another study"),
        (with("name", "Eve".into()), 400, "unknown field"),
        (json!([1, 2]), 400, "that is no vote"),
    ] {
        let (status, answer) = cast(&server, &vote);
        assert_eq!(status, expected, "{vote}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{vote}: {answer}");
    }
    let long = vec![b' '; 1 << 20];
    for (method, path, body, expected) in [
        ("POST", "/votes", &b"{"[..], 400),
        ("POST", "/votes", &long, 413),
        ("GET", "/votes", b"", 405),
        ("GET", "/voters/../study.json", b"", 404),
        ("GET", "/voters/me", b"", 400),
        ("GET", "/pictures/8/left", b"", 404),
        ("GET", "/pictures/0/middle", b"", 404),
        ("GET", "/pictures/..%2Fstudy.json/left", b"", 404),
        ("GET", "/study.json", b"", 404),
        ("GET", "/votes.jsonl", b"", 404),
    ] {
        assert_eq!(server.ask(method, path, body).0, expected, "{method} {path}");
    }
    // Pages of other sites, and names that are not this machine's, are not let in.
    let (status, _, _) = server.ask_with("GET", "/study", "Origin: http://evil.example\r\n", b"");
    assert_eq!(status, 403);
    assert_eq!(std::fs::read(gallery.path("made/votes.jsonl")).unwrap(), b"");
    for (voter, expected) in [(1, 200), (2, 200), (3, 403), (1, 200)] {
        assert_eq!(cast(&server, &vote(&gallery, voter, 1, "visual", "right")).0, expected);
    }
    assert_eq!(get(&server, "/health"), json!({"status": "ok", "voters": 2, "votes": 2}));
}

#[cfg(unix)]
#[test]
fn a_kill_loses_no_vote_that_was_told_to_be_kept() {
    let gallery = study();
    let mut server = serve(&gallery, &[]);
    let told = std::thread::scope(|scope| {
        let voting = scope.spawn(|| {
            let mut told = Vec::new();
            for k in 0.. {
                let answer = ["left", "right", "neither"][k % 3];
                let (voter, item) = (1 + k as u128 / 8, k % 8);
                let vote = vote(&gallery, voter, item, "overall", answer).to_string();
                // The kill may come at any point of this.
                let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    server.ask("POST", "/votes", vote.as_bytes()).0
                }));
                match asked {
                    Ok(status) => assert_eq!(status, 200),
                    Err(_) => break,
                }
                told.push((voter, item, answer));
            }
            told
        });
        std::thread::sleep(std::time::Duration::from_millis(700));
        server.signal("-KILL");
        voting.join().unwrap()
    });
    server.child.wait().unwrap();
    assert!(told.len() > 3, "{}", told.len());
    // And as if it had come in the middle of a line.
    let path = gallery.path("made/votes.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"{\"study\": \"").unwrap();
    let output = gallery.run(&["study", "report", "made"]);
    assert!(output.status.success() && message(&output).contains("half a vote at the end"));

    let server = serve(&gallery, &[]);
    for (voter, item, answer) in told {
        let shown = get(&server, &format!("/voters/{voter:032x}"));
        let items = shown["items"].as_array().unwrap();
        let found = items.iter().find(|shown| shown["item"] == item).unwrap();
        assert_eq!(found["answers"]["overall"], answer, "voter {voter}, item {item}");
    }
    assert!(std::fs::read(&path).unwrap().ends_with(b"}\n"));
}

#[cfg(unix)]
#[test]
fn signals_end_it_gracefully() {
    let gallery = study();
    for signal in ["-INT", "-TERM"] {
        let mut server = serve(&gallery, &[]);
        let idle = server.connect();
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
        drop(idle);
    }
}

#[test]
fn what_it_cannot_start_with_is_told() {
    let gallery = study();
    let server = serve(&gallery, &[]);
    let second = gallery.run(&["study", "serve", "made", "--port", "0"]);
    assert!(message(&second).contains("another process works in `made`"), "{}", message(&second));
    drop(server);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    std::fs::create_dir(gallery.path("empty")).unwrap();
    let copy = |name: &str| {
        let to = gallery.path(name);
        std::fs::create_dir_all(to.join("pictures")).unwrap();
        for file in crate::gallery::names(&gallery.path("made/pictures")) {
            let from = gallery.path("made/pictures").join(&file);
            std::fs::copy(from, to.join("pictures").join(file)).unwrap();
        }
        std::fs::copy(gallery.path("made/study.json"), to.join("study.json")).unwrap();
        to
    };
    let mut other = vote(&gallery, 1, 0, "overall", "left");
    other["study"] = "0123456789abcdef".into();
    std::fs::write(copy("foreign").join("votes.jsonl"), format!("{other}\n")).unwrap();
    std::fs::write(copy("diary").join("votes.jsonl"), "dear diary\n").unwrap();
    std::fs::remove_file(copy("lacking").join("pictures/2-left.png")).unwrap();
    let changed = copy("changed").join("study.json");
    let text = std::fs::read_to_string(&changed).unwrap();
    std::fs::write(&changed, text.replace("\"seed\": 3", "\"seed\": 4")).unwrap();
    for (arguments, words) in [
        (&["made", "--port", &port][..], "choose another port"),
        (&["empty"], "`empty` holds no study"),
        (&["gone"], "`gone` holds no study"),
        (&["foreign"], "is a vote of the study 0123456789abcdef"),
        (&["diary"], "line 1 of `diary/votes.jsonl` is no vote"),
        (&["lacking"], "2-left.png"),
        (&["changed"], "it was changed after it was made"),
        (&["made", "--host", "no.such.host.invalid"], "no address of this machine"),
    ] {
        let port = if arguments.contains(&"--port") { &[][..] } else { &["--port", "0"] };
        let output = gallery.run(&[&["study", "serve"], arguments, port].concat());
        let told = message(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains(words) && !told.contains("listening"), "{arguments:?}: {told}");
    }
    assert!(!gallery.path("gone").exists());
}
