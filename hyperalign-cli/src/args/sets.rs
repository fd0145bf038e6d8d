//! The sets of pictures that embedded bases have of their own, by their names.

use clap::{
    ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use hyperalign_train::data::drawn::DrawnSet;
use serde::{Serialize, Serializer};

/// Pictures of an embedded base's own world to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnData {
    /// Clean and right renders of training prompts: the upper reference.
    Curated,
    /// What the base has drawn.
    Drawn(DrawnSet),
}

impl OwnData {
    fn name(self) -> &'static str {
        match self {
            Self::Curated => "curated",
            Self::Drawn(set) => set.name(),
        }
    }
}

impl ValueEnum for OwnData {
    fn value_variants<'a>() -> &'a [Self] {
        use DrawnSet::{Ranked, Winners, WinnersHasty};
        &[Self::Curated, Self::Drawn(Winners), Self::Drawn(WinnersHasty), Self::Drawn(Ranked)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let about = match self {
            Self::Curated => "Clean and right renders of training prompts: the upper reference",
            Self::Drawn(set) => set.about(),
        };
        Some(PossibleValue::new(self.name()).help(about))
    }
}

/// By its name, which is part of a run's identity.
impl Serialize for OwnData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Reads the name of what is drawn.
pub fn drawn_set() -> impl TypedValueParser<Value = DrawnSet> {
    let values = DrawnSet::ALL.map(|set| PossibleValue::new(set.name()).help(set.about()));
    PossibleValuesParser::new(values).map(|name| {
        let named = DrawnSet::ALL.into_iter().find(|set| set.name() == name);
        named.expect("no other name is let through")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_set_can_be_learned_from() {
        let names: Vec<&str> = OwnData::value_variants().iter().map(|data| data.name()).collect();
        assert_eq!(names, ["curated", "winners", "winners-hasty", "ranked"]);
        let drawn = OwnData::value_variants().iter().filter(|data| **data != OwnData::Curated);
        assert_eq!(drawn.count(), DrawnSet::ALL.len());
        assert_eq!(serde_json::to_value(OwnData::Drawn(DrawnSet::Ranked)).unwrap(), "ranked");
    }
}
