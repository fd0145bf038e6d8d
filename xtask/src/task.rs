//! Finding a chore by its name, and its help.

use crate::process::{Failure, Result};

/// One chore.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// What it is called by.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// How it is called and what each argument means.
    pub help: &'static str,
    /// Does it, with the arguments after the name.
    pub run: fn(&[String]) -> Result<()>,
}

/// Runs the chore that `arguments` name first.
///
/// # Errors
///
/// Fails for an unknown name, and as the chore does.
pub fn run(tasks: &[Task], arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(format!("no task was named\n\n{}", overview(tasks))));
    };
    let is_help = |text: &str| matches!(text, "help" | "--help" | "-h");
    if is_help(name) {
        match rest.first() {
            Some(topic) => println!("{}", find(tasks, topic)?.full_help()),
            None => println!("{}", overview(tasks)),
        }
        return Ok(());
    }
    let task = find(tasks, name)?;
    // Arguments behind `--` belong to the program that the chore starts.
    let own = rest.split(|argument| argument == "--").next().unwrap_or_default();
    if own.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{}", task.full_help());
        return Ok(());
    }
    (task.run)(rest)
}

fn find<'a>(tasks: &'a [Task], name: &str) -> Result<&'a Task> {
    tasks
        .iter()
        .find(|task| task.name == name)
        .ok_or_else(|| Failure::Usage(format!("there is no task `{name}`\n\n{}", overview(tasks))))
}

fn overview(tasks: &[Task]) -> String {
    let mut text = "Usage: cargo xtask TASK [ARGUMENTS]\n\nTasks:\n".to_owned();
    for Task { name, about, .. } in tasks {
        text.push_str(&format!("  {name:<10}{about}\n"));
    }
    text + "\n`cargo xtask help TASK` tells more."
}

impl Task {
    fn full_help(&self) -> String {
        format!("{}\n\n{}", self.about, self.help.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILING: Task = Task {
        name: "fail",
        about: "Fails.",
        help: "Usage: cargo xtask fail",
        run: |arguments| Err(Failure::Told(arguments.join(" "))),
    };

    fn call(arguments: &[&str]) -> Result<()> {
        let arguments: Vec<_> = arguments.iter().map(|&a| a.to_owned()).collect();
        run(&[FAILING], &arguments)
    }

    #[test]
    fn passes_arguments_on() {
        assert_eq!(call(&["fail", "a", "b"]), Err(Failure::Told("a b".to_owned())));
    }

    #[test]
    fn help_runs_nothing() {
        assert_eq!(call(&["help", "fail"]), Ok(()));
        assert_eq!(call(&["fail", "--help"]), Ok(()));
        assert_eq!(call(&["help"]), Ok(()));
    }

    #[test]
    fn help_behind_dashes_is_not_ours() {
        assert_eq!(call(&["fail", "--", "--help"]), Err(Failure::Told("-- --help".to_owned())));
    }

    #[test]
    fn unknown_names_list_the_known() {
        for arguments in [&["fall"][..], &["help", "fall"], &[]] {
            let Err(Failure::Usage(message)) = call(arguments) else { panic!("{arguments:?}") };
            assert!(message.contains("fail"), "{message}");
        }
    }
}
