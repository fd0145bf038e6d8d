//! BERT, an encoder of texts (Devlin et al. 2019, arXiv:1810.04805), with attention to a picture
//! where BLIP adds it (Li et al. 2022, arXiv:2201.12086).
//!
//! Fields carry the names of the published files but for one: the part of an attention that is
//! called `self` there is `attend` here, because `self` cannot be the name of a field.
//! [`our_name`] and [`their_name`] translate.

mod attention;
mod config;
mod model;

pub use config::BertConfig;
pub use model::BertModel;

/// The name of theirs that a field cannot have, and ours.
const SELF: (&str, &str) = ("ttention.self.", "ttention.attend.");

/// Our name of a published key.
pub fn our_name(key: &str) -> String {
    key.replace(SELF.0, SELF.1)
}

/// The published name of one of our keys.
pub fn their_name(key: &str) -> String {
    key.replace(SELF.1, SELF.0)
}
