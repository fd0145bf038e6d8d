//! The protocol of Flow-GRPO's reward servers (arXiv:2505.05470): a pickled dict with the JPEG
//! files of pictures comes in, a pickled dict with their scores goes out.
//!
//! | asked with | answered with |
//! |---|---|
//! | `images`, `meta_datas` (GenEval's rows), `only_strict` | `scores`, `rewards`, `strict_rewards`, `group_rewards`, `group_strict_rewards` |
//! | `images`, `prompts` (a list or a numpy array) | `outputs` |
//! | `images`, where no reward reads prompts | `outputs` |

use std::{borrow::Cow, collections::HashMap};

use axum::body::Bytes;
use hyperalign_models::pickle::{Id, Pickle, Value};
use hyperalign_rewards::geneval::{self, Task};

use super::{numpy, writer::Writer};

/// What stands for pictures of other tasks in a task's list of scores.
const OTHER_TASK: f64 = -10.0;

/// What is asked. It is shared: what a pickle has once may be asked for a thousand times.
#[derive(Debug)]
pub struct Request<'a> {
    /// The files of the pictures.
    pub images: Vec<Bytes>,
    /// Their prompts; empty ones where none came and none is needed.
    pub prompts: Vec<Cow<'a, str>>,
    /// Their rules, where a reward judges by rules.
    pub rows: Vec<geneval::Row>,
    /// Their tasks, if GenEval's rows came with them. None is a task that GenEval does not have.
    pub tasks: Option<Vec<Option<Task>>>,
}

/// What rewards have to know of a picture.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Its prompt.
    pub prompts: bool,
    /// The rules of its prompt.
    pub rules: bool,
}

impl<'a> Request<'a> {
    /// Reads a request out of `body`, which `pickle` was read from.
    ///
    /// # Errors
    ///
    /// Fails with what is missing.
    pub fn read(pickle: &Pickle<'a>, body: &Bytes, needs: Needs) -> Result<Self, String> {
        let root = pickle.root();
        let images = pickle.get(root, "images").ok_or("the dict has no `images`")?;
        let images = pickle.list(images).ok_or("`images` is no list")?;
        let images =
            files(pickle, body, images).ok_or("`images` holds something else than bytes")?;
        let mut of_rules = Vec::new();
        let (prompts, tasks) = match (pickle.get(root, "meta_datas"), pickle.get(root, "prompts")) {
            (Some(rows), _) => {
                let rows = pickle.list(rows).ok_or("`meta_datas` is no list")?;
                if needs.rules {
                    of_rules = rules(pickle, rows)?;
                }
                let (prompts, tasks) = metadata(pickle, rows)?.into_iter().unzip();
                (prompts, Some(tasks))
            }
            (None, Some(prompts)) => {
                (numpy::texts(pickle, prompts).ok_or("`prompts` is no list of texts")?, None)
            }
            (None, None) if !needs.prompts => (vec![Cow::Borrowed(""); images.len()], None),
            (None, None) => return Err("the dict has neither `meta_datas` nor `prompts`".into()),
        };
        if images.len() != prompts.len() {
            return Err(format!("{} pictures and {} prompts", images.len(), prompts.len()));
        }
        Ok(Self { images, prompts, rows: of_rules, tasks })
    }
}

/// Files as parts of the body; a text that stands for one is decoded once, however often it is
/// asked for.
fn files(pickle: &Pickle, body: &Bytes, images: &[Id]) -> Option<Vec<Bytes>> {
    let mut decoded: HashMap<Id, Bytes> = HashMap::new();
    let file = |image: &Id| {
        if let Some(known) = numpy::encoded(pickle, *image).and_then(|text| decoded.get(&text)) {
            return Some(known.clone());
        }
        match numpy::bytes(pickle, *image)? {
            Cow::Borrowed(file) => Some(body.slice_ref(file)),
            Cow::Owned(file) => {
                let file = Bytes::from(file);
                decoded.insert(numpy::encoded(pickle, *image)?, file.clone());
                Some(file)
            }
        }
    };
    images.iter().map(file).collect()
}

/// The prompt and the task of a row of GenEval's.
type Row<'a> = (Cow<'a, str>, Option<Task>);

fn metadata<'a>(pickle: &Pickle<'a>, rows: &[Id]) -> Result<Vec<Row<'a>>, String> {
    let field = |row: Id, key: &str| {
        let text = pickle.get(row, key).and_then(|id| pickle.text(id));
        text.ok_or(format!("a row of `meta_datas` has no `{key}`"))
    };
    // A row that stands there often is searched once, however long it is.
    let mut known = HashMap::new();
    for row in rows {
        if !known.contains_key(row) {
            let (prompt, tag) = (field(*row, "prompt")?, field(*row, "tag")?);
            let task = Task::ALL.into_iter().find(|task| task.tag() == tag);
            known.insert(*row, (prompt, task));
        }
    }
    let known = rows.iter().map(|row| known[row]);
    Ok(known.map(|(prompt, task)| (Cow::Borrowed(prompt), task)).collect())
}

/// The rules in GenEval's rows.
fn rules(pickle: &Pickle, rows: &[Id]) -> Result<Vec<geneval::Row>, String> {
    let mut known: HashMap<Id, geneval::Row> = HashMap::new();
    for row in rows {
        if !known.contains_key(row) {
            let object =
                json(pickle, *row, &mut 0).ok_or("a row of `meta_datas` is no plain data")?;
            let rules = geneval::Row::read_value(&object);
            known.insert(*row, rules.map_err(|error| format!("a row of `meta_datas`: {error}"))?);
        }
    }
    Ok(rows.iter().map(|row| known[row].clone()).collect())
}

/// Plain data as JSON. A pickle may hold itself, and nothing of GenEval's has so many parts.
fn json(pickle: &Pickle, id: Id, parts: &mut usize) -> Option<serde_json::Value> {
    const MOST_PARTS: usize = 200;
    *parts += 1;
    if *parts > MOST_PARTS {
        return None;
    }
    Some(match pickle.value(id) {
        Value::None => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => (*text).into(),
        Value::List(items) => {
            items.iter().map(|item| json(pickle, *item, parts)).collect::<Option<Vec<_>>>()?.into()
        }
        Value::Dict(entries) => {
            let entry = |(key, value): &(Id, Id)| {
                Some((pickle.text(*key)?.to_owned(), json(pickle, *value, parts)?))
            };
            let object: Option<serde_json::Map<_, _>> = entries.iter().map(entry).collect();
            object?.into()
        }
        _ => return None,
    })
}

/// The answer to a request with these tasks.
pub fn answer(tasks: Option<&[Option<Task>]>, scores: &[f32]) -> Vec<u8> {
    let scores = || scores.iter().map(|score| f64::from(*score));
    let mut writer = Writer::new();
    let Some(tasks) = tasks else {
        writer.numbers("outputs", scores());
        return writer.finish();
    };
    let groups = || {
        Task::ALL.map(|task| {
            let of = |(of, score): (&Option<Task>, f64)| {
                if *of == Some(task) { score } else { OTHER_TASK }
            };
            (task.tag().to_owned(), tasks.iter().zip(scores()).map(of).collect())
        })
    };
    for key in ["scores", "rewards", "strict_rewards"] {
        writer.numbers(key, scores());
    }
    for key in ["group_rewards", "group_strict_rewards"] {
        writer.groups(key, groups());
    }
    writer.finish()
}
