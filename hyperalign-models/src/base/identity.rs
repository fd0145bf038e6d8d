//! Who a base is.

use crate::lora::Laid;

/// What tells a base from others.
pub trait Identity {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Fingerprint of everything that its pictures depend on: its weights, and the LoRA files that
    /// are laid over them.
    fn hash(&self) -> &str;

    /// Fingerprint of the weights alone, without the LoRA files that are laid over them: what
    /// trained adapters belong to.
    fn weights_hash(&self) -> &str {
        self.hash()
    }

    /// The LoRA files that are laid over its weights.
    fn laid(&self) -> &[Laid] {
        &[]
    }

    /// Keys of the file that it was read from which are known to be of no use, and were not read,
    /// those of a folder behind the name of their part
    /// ([`published::summary`](crate::weights::published::summary) counts them).
    fn passed_over(&self) -> &[String] {
        &[]
    }
}
