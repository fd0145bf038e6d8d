//! Whether a comparison goes together, before anything is computed.

use std::collections::BTreeSet;

use super::{CompareError, Comparison, Entry, FORMAT};
use crate::eval::Method;

impl Comparison {
    /// The entry called `name`.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether the parts of the file go together.
    ///
    /// # Errors
    ///
    /// Fails for a file of another format, names that nothing has or two things have, and entries
    /// that say too much or too little.
    pub fn check(&self) -> Result<(), CompareError> {
        if self.format != FORMAT {
            return Err(CompareError::Format { given: self.format });
        }
        self.check_protocol()?;
        let bases: Vec<&str> = self.bases.iter().map(|base| base.name.as_str()).collect();
        if bases.is_empty() {
            return Err(config("bases", "there is none; add [[bases]] with a name"));
        }
        check_names("bases", &bases)?;
        let entries: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        check_names("entries", &entries)?;
        if entries.contains(&Method::BASE) {
            return Err(config("entries", "`base` is the base as it is, which is always measured"));
        }
        for entry in &self.entries {
            self.check_entry(entry, &bases)?;
        }
        self.check_references(&entries, &bases)
    }

    fn check_protocol(&self) -> Result<(), CompareError> {
        let protocol = &self.protocol;
        for (name, count) in [
            ("protocol.rows", protocol.rows),
            ("protocol.seeds", protocol.seeds),
            ("protocol.batch", protocol.batch),
            ("protocol.probe_prompts", protocol.probe_prompts),
            ("protocol.training_seeds", protocol.training_seeds.len()),
            ("curves.rows", self.curves.rows),
        ] {
            if count == 0 {
                return Err(config(name, "at least 1 is needed"));
            }
        }
        if !["train", "tuning", "test"].contains(&protocol.split.as_str()) {
            return Err(config("protocol.split", "there are train, tuning and test"));
        }
        let different: BTreeSet<&u64> = protocol.training_seeds.iter().collect();
        if different.len() < protocol.training_seeds.len() {
            return Err(config("protocol.training_seeds", "a seed comes twice"));
        }
        let is_between = |share: &f64| *share > 0.0 && *share < 1.0;
        if !self.curves.points.iter().all(is_between) {
            return Err(config("curves.points", "shares between 0 and 1 are needed"));
        }
        Ok(())
    }

    fn check_entry(&self, entry: &Entry, bases: &[&str]) -> Result<(), CompareError> {
        let place = format!("entries.{}", entry.name);
        for base in &entry.bases {
            known(&place, base, "base", bases)?;
        }
        let sources =
            [entry.train.is_some(), entry.of.is_some(), entry.adapter.is_some()].map(usize::from);
        let adapters: usize = sources.iter().sum();
        if adapters > 1 {
            return Err(config(place, "an adapter comes from one of train, of and adapter"));
        }
        if adapters == 0 && entry.method.is_none() {
            return Err(config(
                place,
                "nothing is said of how its pictures are made; add \
                               train, of, adapter or method",
            ));
        }
        if adapters == 0 && entry.variant.is_some() {
            return Err(config(place, "a variant is one of an adapter, and there is none"));
        }
        let Entry { adapter_scale: scale, adapter_until: until, .. } = entry;
        if adapters == 0 && (scale.is_some() || until.is_some()) {
            let reason =
                "adapter_scale and adapter_until are those of an adapter, and there is none";
            return Err(config(place, reason));
        }
        if scale.is_some_and(|scale| !scale.is_finite()) {
            return Err(config(place, "adapter_scale must be a finite number"));
        }
        if until.is_some_and(|until| !(0.0..=1.0).contains(&until)) {
            return Err(config(place, "adapter_until must be a share of the steps, from 0 to 1"));
        }
        if entry.method.is_none() && (!entry.options.is_empty() || entry.budget_seconds.is_some()) {
            return Err(config(
                place,
                "options and budget_seconds are those of a method, and there is none",
            ));
        }
        if entry.curve && entry.train.is_none() {
            return Err(config(place, "a curve is one of a training, and there is none"));
        }
        let entries: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        if let Some(of) = &entry.of {
            known(&place, of, "entry", &entries)?;
            let other = self.entry(of).filter(|other| other.of.is_none() && other.method.is_none());
            if other.is_none_or(|other| other.train.is_none() && other.adapter.is_none()) {
                let what =
                    format!("`{of}` has no adapter of its own; name the entry that trains it");
                return Err(config(place, what));
            }
        }
        let time_of = entry.train.as_ref().and_then(|train| train.time_of.as_ref());
        if let Some(other) = time_of {
            known(&place, other, "entry", &entries)?;
            let train = self.entry(other).and_then(|other| other.train.as_ref());
            if train.is_none_or(|train| train.time_of.is_some()) {
                let what =
                    format!("`{other}` is not trained, or for the wall time of another itself");
                return Err(config(place, what));
            }
        }
        Ok(())
    }

    fn check_references(&self, entries: &[&str], bases: &[&str]) -> Result<(), CompareError> {
        let rows: Vec<&str> = entries.iter().copied().chain([Method::BASE]).collect();
        let entry = |place: &str, name: &str| known(place, name, "entry", &rows);
        if let Some(reference) = &self.protocol.reference {
            entry("protocol.reference", reference)?;
        }
        for name in &self.protocol.shown {
            entry("protocol.shown", name)?;
        }
        for table in &self.tables {
            let place = format!("the table `{}`", table.title);
            table.entries.iter().try_for_each(|name| entry(&place, name))?;
        }
        let ids: Vec<&str> = self.claims.iter().map(|claim| claim.id.as_str()).collect();
        check_names("claims", &ids)?;
        for claim in &self.claims {
            let place = format!("claims.{}", claim.id);
            entry(&place, &claim.left)?;
            claim.right.iter().try_for_each(|name| entry(&place, name))?;
            claim.bases.iter().try_for_each(|base| known(&place, base, "base", bases))?;
        }
        for published in &self.published {
            entry("published", &published.entry)?;
            published.base.iter().try_for_each(|base| known("published", base, "base", bases))?;
        }
        Ok(())
    }
}

fn config(place: impl Into<String>, what: impl Into<String>) -> CompareError {
    CompareError::Config { place: place.into(), what: what.into() }
}

/// Names are parts of folders' names.
fn check_names(place: &str, names: &[&str]) -> Result<(), CompareError> {
    for (k, name) in names.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_+@".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            let what = format!("the name `{name}` needs letters, digits, -, _, + and @ only");
            return Err(config(place, what));
        }
        if names[..k].contains(name) {
            return Err(config(place, format!("the name `{name}` comes twice")));
        }
    }
    Ok(())
}

fn known(place: &str, name: &str, kind: &'static str, names: &[&str]) -> Result<(), CompareError> {
    if names.contains(&name) {
        return Ok(());
    }
    Err(CompareError::Unknown {
        place: place.to_owned(),
        given: name.to_owned(),
        kind,
        nearest: hyperalign_core::nearest(name, names.iter().copied()).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::comparison;

    fn refused(change: impl FnOnce(&mut Comparison)) -> String {
        let mut file = comparison();
        change(&mut file);
        file.check().unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_does_not_go_together_is_refused() {
        comparison().check().unwrap();
        let is = |message: String, words: &[&str]| {
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        is(refused(|file| file.format = 0), &["format 0", "format 1"]);
        is(refused(|file| file.bases.clear()), &["bases", "[[bases]]"]);
        is(refused(|file| file.entries[0].name = "a/b".to_owned()), &["`a/b`"]);
        is(refused(|file| file.entries[0].name = "base".to_owned()), &["`base`"]);
        is(refused(|file| file.entries[2].name = "s".to_owned()), &["`s` comes twice"]);
        is(
            refused(|file| file.entries[1].of = Some("bets".to_owned())),
            &["`bets`", "did you mean `best`?"],
        );
        is(
            refused(|file| file.entries[1].of = Some("best".to_owned())),
            &["no adapter of its own"],
        );
        is(refused(|file| file.entries[3].method = None), &["entries.best", "nothing is said"]);
        is(refused(|file| file.entries[3].curve = true), &["entries.best", "a curve"]);
        is(
            refused(|file| file.entries[0].adapter = Some("x".into())),
            &["one of train, of and adapter"],
        );
        is(refused(|file| file.protocol.rows = 0), &["protocol.rows"]);
        is(refused(|file| file.protocol.split = "dev".to_owned()), &["tuning"]);
        is(refused(|file| file.protocol.training_seeds = vec![1, 1]), &["a seed comes twice"]);
        is(refused(|file| file.protocol.reference = Some("z".to_owned())), &["protocol.reference"]);
        is(refused(|file| file.claims[0].left = "nobody".to_owned()), &["claims.gain", "`nobody`"]);
        is(refused(|file| file.curves.points = vec![1.0]), &["curves.points"]);
    }
}
