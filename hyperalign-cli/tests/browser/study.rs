//! The page of `hyperalign study serve`.

use std::path::Path;

use serde_json::{Value, json};

use crate::chromium::{self, Page};
use crate::client::Server;
use crate::gallery::Gallery;

/// What the voter is asked now: item and question, told apart from what was asked before.
const ASKED: &str = "document.querySelector('#left').getAttribute('src') + \
                     document.querySelector('#question').textContent";
/// Everything that a finger must hit and is too small for one.
const SMALL: &str = "[...document.querySelectorAll('button')].filter((e) => e.checkVisibility())\
                     .filter((e) => e.getBoundingClientRect().height < 32).map((e) => e.outerHTML)";

#[test]
fn ten_votes_are_given_by_clicking_and_by_keys_and_reported() {
    let Some(program) = chromium::find() else {
        eprintln!("left out: no Chromium here; install it, or name one in HYPERALIGN_BROWSER");
        return;
    };
    let gallery = Gallery::new();
    gallery.pictures("base", 0..6, 96);
    gallery.pictures("ours", 0..6, 96);
    gallery.done(&[
        "study",
        "new",
        "base",
        "ours",
        "--out",
        "made",
        "--items",
        "4",
        "--checks",
        "1",
        "--questions",
        "overall",
        "--questions",
        "prompt",
    ]);
    let server = Server::start("study serve", &gallery.path("."), &["made"]);
    let plan = std::fs::read(gallery.path("made/study.json")).unwrap();
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    for (size, scheme) in
        [([390, 844], "light"), ([390, 844], "dark"), ([1280, 800], "light"), ([1280, 800], "dark")]
    {
        let mut page = Page::open(&program, size, scheme);
        let shot = |page: &mut Page, what: &str| {
            let name = format!("study-{}-{scheme}-{what}.png", size[0]);
            page.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(name));
        };
        let mut voting = Voting { page: &mut page, plan: &plan };
        voting.begin(&server.address, |page| shot(page, "begin"));
        voting.vote(|page| shot(page, "vote"));
        assert_eq!(voting.page.value(SMALL), json!([]));
        assert_eq!(voting.page.value("document.documentElement.scrollWidth"), size[0], "cut off");
        voting.page.until("document.querySelector('#end').checkVisibility()");
        shot(voting.page, "end");
        assert_eq!(voting.page.complaints, Vec::<String>::new());
    }
    let report = gallery.done(&["study", "report", "made", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((report["voters"].as_u64(), report["complete"].as_u64()), (Some(4), Some(4)));
    assert_eq!(report["excluded"], json!({}));
    for question in report["questions"].as_array().unwrap() {
        assert_eq!(question["votes"], 16, "four voters, four pairs");
        let won = &question["methods"][1]["won"];
        assert_eq!(won["mean"], 1.0, "ours was chosen always: {question}");
    }
}

/// Somebody who always prefers `ours`, and what is not spoiled.
struct Voting<'a> {
    page: &'a mut Page,
    plan: &'a Value,
}

impl Voting<'_> {
    fn begin(&mut self, address: &str, shot: impl Fn(&mut Page)) {
        self.page.go(&format!("http://{address}/"));
        self.page.until("document.querySelector('#begin')?.checkVisibility() === true");
        shot(self.page);
        // The button has the focus; what is pressed is what is clicked.
        self.page.click("#start");
        self.page.until("document.querySelector('#vote').checkVisibility()");
    }

    /// The side of the picture that is preferred of the two that are shown.
    fn side(&mut self) -> &'static str {
        let source = self.page.value("document.querySelector('#left').getAttribute('src')");
        let item: usize = source.as_str().unwrap().split('/').nth(2).unwrap().parse().unwrap();
        let left = &self.plan["study"]["items"][item]["left"];
        let right = &self.plan["study"]["items"][item]["right"];
        let is_left = match right["is_degraded"] == true || left["is_degraded"] == true {
            true => right["is_degraded"] == true,
            false => left["method"] == 1,
        };
        if is_left { "left" } else { "right" }
    }

    /// Does something that answers, and waits for the next question.
    fn next(&mut self, act: impl FnOnce(&mut Page)) {
        let asked = self.page.value(ASKED);
        act(self.page);
        self.page.until(&format!(
            "{ASKED} !== {asked} || document.querySelector('#end').checkVisibility()"
        ));
    }

    fn vote(&mut self, shot: impl Fn(&mut Page)) {
        let arrow =
            |side: &str| if side == "left" { ("ArrowLeft", 37) } else { ("ArrowRight", 39) };
        // Nine, and one in between.
        for k in 0..9 {
            let side = self.side();
            match k % 3 {
                0 => self.next(|page| page.click(&format!(".picture[data-answer='{side}']"))),
                1 => self.next(|page| page.click(&format!(".buttons [data-answer='{side}']"))),
                _ => {
                    let (key, code) = arrow(side);
                    self.next(|page| page.press(key, code, false));
                }
            }
            if k == 3 {
                self.change_of_mind();
                self.leave_and_come_back();
                let loaded = "[...document.images].every((image) => image.naturalWidth === 96)";
                self.page.until(loaded);
                shot(self.page);
            }
        }
    }

    /// Says that there is no difference, goes back and says otherwise.
    fn change_of_mind(&mut self) {
        let side = self.side();
        self.next(|page| page.press("ArrowDown", 40, false));
        self.next(|page| page.press("ArrowUp", 38, false));
        let pressed = "document.querySelector(\"[data-answer='neither']\").ariaPressed";
        assert_eq!(self.page.value(pressed), "true");
        self.next(|page| page.click(&format!(".picture[data-answer='{side}']")));
        self.next(|page| page.click("#back"));
    }

    /// Opens the own link anew, and is asked what comes next.
    fn leave_and_come_back(&mut self) {
        let link = self.page.value("location.href");
        let link = link.as_str().unwrap().to_owned();
        assert!(link.contains("#voter="), "{link}");
        self.page.go("about:blank");
        self.page.until("location.href === 'about:blank'");
        self.page.go(&link);
        self.page.until("document.querySelector('#vote')?.checkVisibility() === true");
        self.page.until("document.querySelector('#count').textContent === '3 of 5'");
    }
}
