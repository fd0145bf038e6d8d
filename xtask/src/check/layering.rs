//! Who may know whom: `core <- models <- rewards <- train <- cli`, and xtask nobody.

use std::path::Path;

use crate::process::Result;
use crate::workspace::{self, LAYERS};

/// Dependencies in the wrong direction, and crates that do not take the workspace's lints.
///
/// # Errors
///
/// Fails if a manifest cannot be read.
pub fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in LAYERS.into_iter().chain(["xtask"]) {
        let manifest = workspace::read(&Path::new(name).join("Cargo.toml"))?;
        problems.extend(problems_of(name, &manifest));
    }
    Ok(problems)
}

/// The problems of the crate `name` with this `manifest`.
fn problems_of(name: &str, manifest: &str) -> Vec<String> {
    let may_use = match LAYERS.iter().position(|layer| *layer == name) {
        Some(layer) => &LAYERS[..layer],
        None => &[],
    };
    let mut problems: Vec<_> = dependencies(manifest)
        .into_iter()
        // A crate may depend on itself for its tests, to have its own features there.
        .filter(|used| LAYERS.contains(used) && *used != name && !may_use.contains(used))
        .map(|used| {
            let order = LAYERS.join(", ");
            format!("{name}/Cargo.toml: {name} may not use {used}; a crate uses those before it: {order}")
        })
        .collect();
    if name == "xtask" && !dependencies(manifest).is_empty() {
        problems.push("xtask/Cargo.toml: xtask has no dependencies, to compile in a second".into());
    }
    if !section(manifest, "lints").any(|line| line.replace(' ', "") == "workspace=true") {
        problems.push(format!("{name}/Cargo.toml: `[lints] workspace = true` is missing"));
    }
    problems
}

/// The names in all dependency tables of a manifest: `name = ..`, `name.workspace = ..` and
/// `[dependencies.name]`, of any kind and any target.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_table = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let last = header.rsplit('.').next().unwrap_or(header);
            is_table = last.ends_with("dependencies");
            if let Some((_, name)) = header.split_once("dependencies.") {
                names.push(unquote(name));
            }
        } else if is_table && !line.starts_with('#') {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            if !name.is_empty() {
                names.push(unquote(name));
            }
        }
    }
    names
}

fn unquote(name: &str) -> &str {
    name.trim_matches(['"', '\''])
}

/// The lines of the table `[name]`.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let header = format!("[{name}]");
    let lines = manifest.lines().map(str::trim).skip_while(move |line| *line != header).skip(1);
    lines.take_while(|line| !line.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn problems_with(name: &str, rest: &str) -> Vec<String> {
        problems_of(name, &format!("[package]\nname = \"{name}\"\n{LINTS}{rest}"))
    }

    #[test]
    fn the_workspace_is_in_order() {
        assert_eq!(problems().unwrap(), [""; 0]);
    }

    #[test]
    fn to_the_left_is_allowed() {
        let rest = "[dependencies]\nhyperalign-core.workspace = true\nburn = \"1\"\n";
        assert_eq!(problems_with("hyperalign-models", rest), [""; 0]);
    }

    #[test]
    fn to_the_right_is_not_however_it_is_written() {
        for rest in [
            "[dependencies]\nhyperalign-train.workspace = true\n",
            "[dependencies]\nhyperalign-train = { path = \"../hyperalign-train\" }\n",
            "[dev-dependencies]\n\"hyperalign-train\" = { path = \"../hyperalign-train\" }\n",
            "[dependencies.hyperalign-train]\nworkspace = true\n",
            "[target.'cfg(unix)'.dependencies]\nhyperalign-train.workspace = true\n",
        ] {
            let problems = problems_with("hyperalign-rewards", rest);
            assert_eq!(problems.len(), 1, "{rest}");
            assert!(problems[0].contains("may not use hyperalign-train"), "{problems:?}");
        }
    }

    #[test]
    fn comments_and_other_tables_do_not_count() {
        let rest = "[dependencies]\n# hyperalign-cli = 1\n[features]\nhyperalign-cli = []\n";
        assert_eq!(problems_with("hyperalign-core", rest), [""; 0]);
    }

    #[test]
    fn xtask_uses_nothing() {
        assert_eq!(problems_with("xtask", "[dependencies]\nclap = \"4\"\n").len(), 1);
        assert_eq!(problems_with("xtask", "[dependencies]\n"), [""; 0]);
    }

    #[test]
    fn lints_are_everybodys() {
        let problems = problems_of("hyperalign-core", "[package]\nname = \"hyperalign-core\"\n");
        assert!(problems[0].contains("[lints]"), "{problems:?}");
    }
}
