//! Pictures and their prompts as folders have them.

use super::*;

const NONE: PromptArgs = PromptArgs { prompt: None, prompts: None };

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn found(folder: &tempfile::TempDir, args: &PromptArgs) -> Vec<(String, Option<String>)> {
    let items = collect(&[folder.path().to_owned()], args).unwrap().items;
    let key = |item: &Item| item.key.to_string_lossy().into_owned();
    items.into_iter().map(|item| (key(&item), item.prompt)).collect()
}

fn prompts(folder: &tempfile::TempDir, name: &str) -> PromptArgs {
    PromptArgs { prompt: None, prompts: Some(folder.path().join(name)) }
}

#[test]
fn pictures_of_a_folder_in_the_order_of_their_names() {
    let files = [("b/2.PNG", ""), ("a.webp", ""), ("b/1.jpg", ""), ("x.txt", ""), (".c.png", "")];
    let keys: Vec<_> = found(&folder(&files), &NONE).into_iter().map(|found| found.0).collect();
    assert_eq!(keys, ["a.webp", "b/1.jpg", "b/2.PNG"]);
    let error = collect(&[folder(&[("x.txt", "")]).path().to_owned()], &NONE).unwrap_err();
    assert!(error.to_string().contains("no picture"));
}

#[test]
fn texts_beside_and_rows_above() {
    let row = r#"{"tag":"colors","include":[{"class":"dog","count":1}],"prompt":"a dog"}"#;
    let files = [
        ("0/metadata.jsonl", row),
        ("0/samples/0000.png", ""),
        ("0/samples/0001.png", ""),
        ("0/samples/0001.txt", " a cat\n"),
        ("1.png", ""),
    ];
    let expected = [
        ("0/samples/0000.png".to_owned(), Some("a dog".to_owned())),
        ("0/samples/0001.png".to_owned(), Some("a cat".to_owned())),
        ("1.png".to_owned(), None),
    ];
    assert_eq!(found(&folder(&files), &NONE), expected);
}

#[test]
fn what_cannot_be_read_is_kept() {
    let files = folder(&[
        ("0/metadata.jsonl", "{\"prompt\": \n"),
        ("0/samples/0.png", ""),
        ("1.png", ""),
        ("2.png", ""),
    ]);
    std::fs::write(files.path().join("1.txt"), b"a d\xf6g").unwrap();
    let items = collect(&[files.path().to_owned()], &NONE).unwrap().items;
    let unread: Vec<String> =
        items.into_iter().map(|item| item.unread.unwrap_or_default()).collect();
    assert!(unread[0].contains("metadata.jsonl") && unread[0].contains("line 1"), "{unread:?}");
    assert!(unread[1].contains("1.txt") && unread[1].contains("UTF-8"), "{unread:?}");
    assert_eq!(unread[2], "");
}

#[test]
fn prompts_by_name_and_in_order() {
    let by_name = "{\"image\": \"./b.png\", \"prompt\": \"a cat\"}\n\
                   {\"image\": \"a.png\", \"prompt\": \"a dog\"}\n";
    let folder =
        folder(&[("a.png", ""), ("b.png", ""), ("p.jsonl", by_name), ("q.txt", "one\ntwo\n")]);
    let texts = |name: &str| -> Vec<_> {
        let found = found(&folder, &prompts(&folder, name));
        found.into_iter().filter_map(|found| found.1).collect()
    };
    assert_eq!(texts("p.jsonl"), ["a dog", "a cat"]);
    assert_eq!(texts("q.txt"), ["one", "two"]);
    std::fs::write(folder.path().join("q.txt"), "one\n").unwrap();
    let error = collect(&[folder.path().to_owned()], &prompts(&folder, "q.txt")).unwrap_err();
    assert!(error.to_string().contains("1 prompts") && error.to_string().contains("2 pictures"));
}

#[test]
fn groups() {
    let table = "image,prompt,category\na.png,x,photo\nb.png,y,anime\n";
    let files =
        folder(&[("a.png", ""), ("b.png", ""), ("p.csv", table), ("c/1.png", ""), ("c/2.png", "")]);
    let groups = |args: &PromptArgs| -> Vec<_> {
        let items = collect(&[files.path().to_owned()], args).unwrap().items;
        items.into_iter().map(|item| item.group.unwrap_or_default()).collect()
    };
    assert_eq!(groups(&prompts(&files, "p.csv"))[..2], ["photo", "anime"]);
    assert!(groups(&NONE)[2].ends_with('c') && !groups(&NONE)[0].is_empty());
}

/// Pictures that share a stem, as they are left by whoever converts a folder.
#[test]
fn no_prompt_of_one_picture_reaches_another() {
    let rows = "{\"file_name\": \"1.png\", \"text\": \"a circle\"}\n\
                {\"file_name\": \"1.jpg\", \"text\": \"three dogs\"}\n";
    let files = folder(&[
        ("in/1.png", ""),
        ("in/1.jpg", ""),
        ("clash.jsonl", rows),
        ("set/metadata.jsonl", rows),
        ("set/train/1.jpg", ""),
        ("set/train/2.jpg", ""),
    ]);
    let texts = |name: &str, args: &PromptArgs| -> Vec<_> {
        let items = collect(&[files.path().join(name)], args).unwrap().items;
        items.into_iter().map(|item| item.prompt.unwrap_or_default()).collect()
    };
    assert_eq!(texts("in", &prompts(&files, "clash.jsonl")), ["three dogs", "a circle"]);
    assert_eq!(texts("set", &NONE), ["three dogs", ""], "a row that names another is not taken");
    // Rows without names, of which none is known to be its own.
    std::fs::write(files.path().join("set/metadata.jsonl"), "{\"text\":\"a\"}\n{\"text\":\"b\"}")
        .unwrap();
    let items = collect(&[files.path().join("set")], &NONE).unwrap().items;
    assert!(items[0].prompt.is_none() && items[0].unread.as_ref().unwrap().contains("2 prompts"));
}

#[test]
fn captions_as_tools_write_them() {
    let files = folder(&[
        ("a.png", ""),
        ("a.txt", "\u{FEFF}a dog\r\n"),
        ("b.png", ""),
        ("b.TXT", "a cat"),
        ("c.png", ""),
        ("c.caption", "a cow"),
        ("d.png", ""),
        ("d.txt", " \r\n"),
        ("e.jpg", ""),
        ("e.png", ""),
        ("e.txt", "a bee"),
        ("e.jpg.txt", "a fly"),
    ]);
    let items = collect(&[files.path().to_owned()], &NONE).unwrap().items;
    let prompts: Vec<_> = items.iter().map(|item| item.prompt.as_deref().unwrap_or("-")).collect();
    assert_eq!(prompts, ["a dog", "a cat", "a cow", "-", "a fly", "a bee"]);
    assert!(items[3].unread.as_ref().unwrap().contains("is empty"));
    std::fs::write(files.path().join("a.txt"), b"\xff\xfea\0 \0").unwrap();
    let items = collect(&[files.path().to_owned()], &NONE).unwrap().items;
    assert!(items[0].unread.as_ref().unwrap().contains("UTF-16"));
}

#[test]
fn folders_as_tools_leave_them() {
    let files = folder(&[
        ("0/metadata.jsonl", "{\"prompt\": \"a dog\"}"),
        ("0/grid.png", ""),
        ("0/samples/0000.png", ""),
        ("0/samples/._0000.png", ""),
        ("1/grid.png", ""),
        ("1/.DS_Store", ""),
        ("1/x.JFIF", ""),
    ]);
    let keys: Vec<_> = found(&files, &NONE).into_iter().map(|found| found.0).collect();
    assert_eq!(keys, ["0/samples/0000.png", "1/grid.png", "1/x.JFIF"]);
}

#[cfg(unix)]
#[test]
fn a_picture_counts_once_however_often_it_is_met() {
    let files = folder(&[("z/1.png", ""), ("z/1.txt", "a dog")]);
    let at = |name: &str| files.path().join(name);
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
    link("z", "a");
    link("..", "z/up");
    link("1.png", "z/2.png");
    link("1.txt", "z/2.txt");
    link("1.png", "z/3.png");
    let all = [files.path().to_owned(), at("z/1.png"), at("a/1.png"), files.path().join("./z")];
    let items = once(collect(&all, &NONE).unwrap().items);
    let keys: Vec<_> = items.iter().map(|item| item.key.to_string_lossy().into_owned()).collect();
    // The third is to show something else as far as anyone knows.
    assert_eq!(keys, ["z/1.png", "z/3.png"]);
}
