//! Reference files of LAION's aesthetic heads.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use hyperalign_models::{affine::AffineHead, clip::normalize, weights::Tensors};
use miette::{IntoDiagnostic, miette};

use super::{checks::Checks, golden::Golden};

/// Endings of the files that heads are published as; PyTorch's own first.
const ENDINGS: [&str; 2] = ["pth", "safetensors"];

/// `aesthetic*`: heads on embeddings of pictures. Each result is named after the file that its
/// head was published in; weights of the reference file itself are those of a single head.
pub(super) fn heads(golden: &Golden, checks: &mut Checks) -> miette::Result<()> {
    let device = checks.device.clone();
    let embedding = golden.tensor::<2>("in.embedding", &device)?;
    let mut total: Option<Tensor<1>> = None;
    let normed = normalize(embedding);
    let leaf = normed.clone().autodiff().require_grad();
    for name in checks.left() {
        let Some(stem) = name.strip_prefix("out.") else { continue };
        let head = match golden.weights() {
            Ok(weights) => AffineHead::from_tensors(&weights).into_diagnostic()?,
            Err(_) => {
                let file = find(golden.path(), stem)?;
                let weights = Tensors::open_pytorch(&file).into_diagnostic()?;
                AffineHead::from_tensors(&weights).into_diagnostic()?
            }
        };
        checks.tensor(&name, head.forward(normed.clone()));
        let score = head.forward(leaf.clone());
        // The gradient is that of the sum over the stacked head, the one that is trained against.
        if stem.starts_with("sac") || total.is_none() {
            total = Some(score);
        }
    }
    if let Some(total) = total {
        let gradients = total.sum().backward();
        if let Some(gradient) = leaf.grad(&gradients) {
            checks.tensor("grad.in.embedding_norm", gradient);
        }
    }
    Ok(())
}

/// The file of the head called `stem`, in `assets/aesthetic` beside the folder that the reference
/// folder lies in. Published names have marks that names of tensors do not.
fn find(golden: &Path, stem: &str) -> miette::Result<PathBuf> {
    let letters =
        |name: &str| -> String { name.chars().filter(|c| c.is_ascii_alphanumeric()).collect() };
    let folder = golden
        .canonicalize()
        .into_diagnostic()?
        .ancestors()
        .nth(3)
        .map(|root| root.join("assets/aesthetic"))
        .filter(|folder| folder.is_dir())
        .ok_or_else(|| miette!("the heads are expected in `assets/aesthetic` beside the folder that the reference folder lies in"))?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_diagnostic()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            letters(&name).starts_with(&letters(stem))
        })
        .collect();
    let ending = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        ENDINGS.iter().position(|known| *known == ending)
    };
    files.retain(|path| ending(path).is_some());
    files.sort_by_key(|path| (ending(path), path.clone()));
    let found = files.into_iter().next();
    found.ok_or_else(|| miette!("no head called `{stem}` in `{}`", folder.display()))
}
