//! The protocol of Flow-GRPO's reward servers (arXiv:2505.05470): a pickled dict with the JPEG
//! files of pictures comes in, a pickled dict with their scores goes out.
//!
//! | asked with | answered with |
//! |---|---|
//! | `images`, `meta_datas` (GenEval's rows), `only_strict` | `scores`, `rewards`, `strict_rewards`, `group_rewards`, `group_strict_rewards` |
//! | `images`, `prompts` (a list or a numpy array) | `outputs` |

use hyperalign_rewards::geneval::Task;

use super::pickle::{Id, Pickle};
use super::writer::Writer;

/// What stands for pictures of other tasks in a task's list of scores.
const OTHER_TASK: f64 = -10.0;

/// What is asked.
#[derive(Debug)]
pub struct Request {
    /// The files of the pictures.
    pub images: Vec<Vec<u8>>,
    /// Their prompts.
    pub prompts: Vec<String>,
    /// Their tasks, if GenEval's rows came with them.
    pub tasks: Option<Vec<String>>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// Fails with what is missing.
    pub fn read(pickle: &Pickle) -> Result<Self, String> {
        let root = pickle.root();
        let images = pickle.get(root, "images").ok_or("the dict has no `images`")?;
        let images = pickle.list(images).ok_or("`images` is no list")?;
        let file = |image: &Id| pickle.bytes(*image).map(<[u8]>::to_vec);
        let files: Option<Vec<Vec<u8>>> = images.iter().map(file).collect();
        let images = files.ok_or("`images` holds something else than bytes")?;
        let (prompts, tasks) = match (pickle.get(root, "meta_datas"), pickle.get(root, "prompts")) {
            (Some(rows), _) => {
                let rows = pickle.list(rows).ok_or("`meta_datas` is no list")?;
                let field = |row: &usize, key: &str| {
                    let text = pickle.get(*row, key).and_then(|id| pickle.text(id));
                    text.map(str::to_owned).ok_or(format!("a row of `meta_datas` has no `{key}`"))
                };
                let prompts = rows.iter().map(|row| field(row, "prompt"));
                let tasks = rows.iter().map(|row| field(row, "tag"));
                (prompts.collect::<Result<_, _>>()?, Some(tasks.collect::<Result<_, _>>()?))
            }
            (None, Some(prompts)) => {
                (pickle.texts(prompts).ok_or("`prompts` is no list of texts")?, None)
            }
            (None, None) => return Err("the dict has neither `meta_datas` nor `prompts`".into()),
        };
        if images.len() != prompts.len() {
            return Err(format!("{} pictures and {} prompts", images.len(), prompts.len()));
        }
        Ok(Self { images, prompts, tasks })
    }
}

/// The answer to a request with these tasks.
pub fn answer(tasks: Option<&[String]>, scores: &[f32]) -> Vec<u8> {
    let scores = || scores.iter().map(|score| f64::from(*score));
    let mut writer = Writer::new();
    let Some(tasks) = tasks else {
        writer.numbers("outputs", scores());
        return writer.finish();
    };
    let groups = || {
        Task::ALL.map(|task| {
            let of = |(tag, score): (&String, f64)| {
                if tag == task.tag() { score } else { OTHER_TASK }
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
