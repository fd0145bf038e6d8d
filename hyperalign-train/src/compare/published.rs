//! Numbers that others have published.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One row of a published table, shown beside ours. The scores are of other models and prompts
/// unless the comparison is of those; what can be held together is the order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Published {
    /// The entry that it belongs to, or `base`.
    pub entry: String,
    /// The base of the comparison that it is shown with; all if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Where it was published.
    pub source: String,
    /// The numbers by what they are called there.
    pub values: BTreeMap<String, f64>,
}
