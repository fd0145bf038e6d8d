//! What an objective remembers, and weights that it finds.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;

/// Makes the second part as long as the first, by the mean over the updates so far.
#[derive(Default)]
struct Balanced {
    norms: Mutex<Vec<f64>>,
    stop: Option<(u64, Stop)>,
}

impl Objective for Balanced {
    type Module = Line;
    type Batch = ();

    fn names(&self) -> Names {
        Regression::plain().names()
    }

    fn prepare(&self, _: &Line, _: u64) {}

    fn losses(&self, module: &Line, (): &(), update: u64, shard: Shard, emit: &mut dyn Emit) {
        if let Some((at, stop)) = &self.stop
            && *at == update
        {
            stop.request();
        }
        Regression::plain().losses(module, &(), update, shard, emit);
    }

    fn weigh(&self, _: u64, parts: &mut [WeighedPart]) {
        let mut norms = self.norms.lock().unwrap();
        norms.push(parts[0].gradient_norm / parts[1].gradient_norm);
        parts[1].weight = norms.iter().sum::<f64>() / norms.len() as f64;
    }

    fn memory(&self) -> Option<Value> {
        let norms = self.norms.lock().unwrap();
        Some(json!(norms.iter().map(|norm| norm.to_bits()).collect::<Vec<_>>()))
    }

    fn recall(&self, memory: Option<Value>) -> Result<(), serde_json::Error> {
        let bits: Vec<u64> = memory.map(serde_json::from_value).transpose()?.unwrap_or_default();
        *self.norms.lock().unwrap() = bits.into_iter().map(f64::from_bits).collect();
        Ok(())
    }
}

#[test]
fn weights_are_chosen_by_the_gradients_of_the_update_itself() {
    let dir = tempfile::tempdir().unwrap();
    fit(Arc::new(Balanced::default()), Line::new(), &settings(), &Run::new(dir.path(), ""))
        .unwrap();
    let rows = journal(dir.path());
    let of = |row: &Value, part: &str| row["gradient_norm"][part].as_f64().unwrap();
    assert!((of(&rows[0], "fit") - of(&rows[0], "shrink")).abs() < 1e-9);
    assert!((of(&rows[9], "fit") - of(&rows[9], "shrink")).abs() > 1e-3);
    assert_ne!(rows[0]["weight"]["shrink"], rows[9]["weight"]["shrink"]);
}

#[test]
fn a_resumed_run_goes_on_with_its_memory() {
    let whole = tempfile::tempdir().unwrap();
    let run = Run::new(whole.path(), "");
    let end = fit(Arc::new(Balanced::default()), Line::new(), &settings(), &run).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = Run::new(dir.path(), "");
    let objective = Balanced { stop: Some((6, run.stop.clone())), ..Balanced::default() };
    fit(Arc::new(objective), Line::new(), &settings(), &run).unwrap();
    let run = Run { resume: Resume::Continue, ..Run::new(dir.path(), "") };
    // What another run left in the objective does not count.
    let objective = Balanced { norms: Mutex::new(vec![9.0]), stop: None };
    let again = fit(Arc::new(objective), Line::new(), &settings(), &run).unwrap();
    assert_eq!(again.module.values(), end.module.values());
    let file = |dir: &Path| std::fs::read(dir.join("checkpoints/step-000012/objective.json"));
    assert_eq!(file(dir.path()).unwrap(), file(whole.path()).unwrap());

    // A damaged memory is noticed as any other file.
    let path = dir.path().join("checkpoints/step-000012/objective.json");
    std::fs::write(&path, "[1, 2]").unwrap();
    let run = Run { resume: Resume::Continue, ..Run::new(dir.path(), "") };
    let end = fit(Arc::new(Balanced::default()), Line::new(), &settings(), &run).unwrap();
    assert_eq!((end.end, end.update), (End::Finished, 12));
    assert_eq!(again.module.values(), end.module.values());
}
