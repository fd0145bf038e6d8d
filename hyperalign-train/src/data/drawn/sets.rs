//! The sets of drawn pictures that methods learn from, by name.

use hyperalign_core::cache::{self, NoCache};
use hyperalign_models::base::Base;
use hyperalign_rewards::emoji::World;

use super::{Annotator, Drawing, DrawnFile};

/// A set that `hyperalign pairs` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawnSet {
    /// Two pictures of each prompt, judged by [`Annotator::CAREFUL`].
    Winners,
    /// Other pictures, judged by [`Annotator::HASTY`]: the same method on worse data.
    WinnersHasty,
    /// Four pictures of each prompt, ordered by the reward that is trained against.
    Ranked,
}

impl DrawnSet {
    /// Prompts of a set.
    pub const PROMPTS: usize = 3000;

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Winners, Self::WinnersHasty, Self::Ranked];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Winners => "winners",
            Self::WinnersHasty => "winners-hasty",
            Self::Ranked => "ranked",
        }
    }

    /// What it is, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Winners => "The base's own pictures: pairs that a careful annotator judges",
            Self::WinnersHasty => "Other pairs, which a hasty annotator judges",
            Self::Ranked => "Four of the base's own pictures of each prompt, ordered by the reward",
        }
    }

    /// Who judges its pairs; nobody where a reward does.
    pub fn annotator(self) -> Option<Annotator> {
        match self {
            Self::Winners => Some(Annotator::CAREFUL),
            Self::WinnersHasty => Some(Annotator::HASTY),
            Self::Ranked => None,
        }
    }

    /// What is drawn for it. No two sets share a picture.
    pub fn drawing(self, world: World) -> Drawing {
        match self {
            Self::Winners => Drawing::new(world, 101, 2),
            Self::WinnersHasty => Drawing::new(world, 102, 2),
            Self::Ranked => Drawing::new(world, 103, 4),
        }
    }

    /// Where the first `prompts` prompts of the set of `base` are kept, in the user's cache.
    ///
    /// # Errors
    ///
    /// Fails if nothing says where the cache is.
    pub fn file(self, base: &dyn Base, world: World, prompts: usize) -> Result<DrawnFile, NoCache> {
        let folder = cache::folder()?.join("drawn");
        Ok(DrawnFile::new(&folder, base.name(), base.hash(), self.drawing(world), prompts))
    }
}
