//! What is made of votes.

use super::*;

#[test]
fn a_study_is_voted_and_reported() {
    let gallery = study();
    let server = serve(&gallery, &[]);
    let plan = plan(&gallery);
    let items = plan["study"]["items"].as_array().unwrap();
    // Two who look, one who always says left, one who leaves after the first item.
    for (voter, count) in [(1, 8), (2, 8), (3, 8), (4, 1)] {
        for (k, item) in items.iter().enumerate().take(count) {
            for question in ["overall", "visual", "prompt"] {
                let answer = match voter {
                    3 => "left",
                    2 if question == "prompt"
                        && item["left"]["method"] != item["right"]["method"] =>
                    {
                        "neither"
                    }
                    _ => honest(item),
                };
                assert_eq!(cast(&server, &vote(&gallery, voter, k, question, answer)).0, 200);
            }
        }
    }
    // While the server is at work.
    let json: Value =
        serde_json::from_str(&gallery.done(&["study", "report", "made", "--json"])).unwrap();
    assert_eq!((json["voters"].as_u64(), json["complete"].as_u64()), (Some(4), Some(3)));
    let excluded = json["excluded"].as_object().unwrap();
    assert_eq!(excluded.len(), 1, "who says left to everything fails one check of two");
    let overall = &json["questions"][0];
    let compared = |k: usize| items[k]["left"]["method"] != items[k]["right"]["method"];
    let votes = 2 * 6 + u64::from(compared(0));
    assert_eq!(overall["votes"], votes);
    assert_eq!(overall["alpha"], 1.0, "those who look agree");
    let shares: Vec<f64> =
        (0..3).map(|k| overall["methods"][k]["share"].as_f64().unwrap()).collect();
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    assert!(shares[1] > shares[0] && shares[0] > shares[2], "{shares:?}");
    assert_eq!(overall["pairs"][0]["rate"]["mean"], 0.0, "base never won against ours");
    assert!(overall["no_strengths"].as_str().unwrap().contains("never won"));
    let prompt = &json["questions"][2];
    assert!((prompt["neither"].as_f64().unwrap() - 6.0 / votes as f64).abs() < 1e-9, "{prompt}");

    let page = gallery.done(&["study", "report", "made"]);
    for words in
        ["# Which picture is better?", "Shares of the votes", "1 voter passed less than 75 %"]
    {
        assert!(page.contains(words), "{page}");
    }
    for (file, begin) in [("report.md", "# Which"), ("report.json", "{")] {
        assert_eq!(gallery.done(&["study", "report", "made", "--out", file]), "");
        let text = std::fs::read_to_string(gallery.path(file)).unwrap();
        assert!(text.starts_with(begin), "{text}");
    }
    let all: Value = serde_json::from_str(
        &gallery.done(&["study", "report", "made", "--json", "--passed", "0"]),
    )
    .unwrap();
    assert_eq!(all["questions"][0]["votes"], votes + 6);
}

#[test]
fn nothing_to_report_is_told() {
    let gallery = study();
    assert!(gallery.done(&["study", "report", "made"]).contains("There are no votes"));
    std::fs::create_dir(gallery.path("empty")).unwrap();
    let output = gallery.run(&["study", "report", "empty"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(message(&output).contains("`hyperalign study new`"), "{}", message(&output));
}
