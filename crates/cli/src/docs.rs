//! What is generated from the arguments: the page docs/cli.md, the manual page, and what shells need.

use std::fmt::Write as _;
use std::io;

use clap::{Arg, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::cli::command;

/// A program that completes `kubectl jct`, for kubectl ≥ 1.26: it is asked with the words so far. Those after `kubectl jct` are
/// given to the completion of bash.
pub const KUBECTL_COMPLETE: &str = r#"#!/usr/bin/env bash
# Save it as kubectl_complete-jct on the PATH, executable: kubectl asks it for what may follow `kubectl jct …`.
source <(kubectl-jct completion bash)
COMP_WORDS=(kubectl-jct "$@")
COMP_CWORD=$(($# > 0 ? $# : 1))
_kubectl__jct kubectl-jct "${COMP_WORDS[COMP_CWORD]:-}" "${COMP_WORDS[COMP_CWORD - 1]:-}" 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
# Nothing but these, no files.
echo ":4"
"#;

/// The name of the program.
const PROGRAM: &str = "kubectl-jct";

/// What this shell needs.
pub fn completion(shell: Shell) -> Vec<u8> {
    // Shells know the program, which kubectl calls for `kubectl jct`.
    let mut program = command().bin_name(PROGRAM);
    let mut bytes = Vec::new();
    generate(shell, &mut program, PROGRAM, &mut bytes);
    // Of a command that is shown with a blank in its name the generators make two.
    String::from_utf8_lossy(&bytes).replace("kubectl__subcmd__jct", "kubectl__jct").into_bytes()
}

/// The manual page, with a section for each command.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn man() -> io::Result<Vec<u8>> {
    let mut whole = command();
    whole.build();
    let page = Man::new(whole.clone());
    let mut bytes = Vec::new();
    page.render_title(&mut bytes)?;
    page.render_name_section(&mut bytes)?;
    page.render_synopsis_section(&mut bytes)?;
    page.render_options_section(&mut bytes)?;
    for subcommand in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        man_section(subcommand, &mut bytes)?;
    }
    page.render_extra_section(&mut bytes)?;
    Ok(bytes)
}

fn man_section(command: &Command, bytes: &mut Vec<u8>) -> io::Result<()> {
    let subcommands: Vec<&Command> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if !subcommands.is_empty() {
        return subcommands.into_iter().try_for_each(|subcommand| man_section(subcommand, bytes));
    }
    let name = command.get_bin_name().unwrap_or_default().to_uppercase();
    let (page, mut section) = (Man::new(command.clone()), Vec::new());
    page.render_synopsis_section(&mut section)?;
    page.render_description_section(&mut section)?;
    page.render_options_section(&mut section)?;
    // What are sections of a page of its own are parts of a section here.
    let section = String::from_utf8_lossy(&section).replace(".SH ", ".SS ");
    bytes.extend(format!(".SH \"{name}\"\n{section}").into_bytes());
    Ok(())
}

/// The page docs/cli.md.
pub fn page() -> String {
    let mut whole = command();
    whole.build();
    let mut page = String::from(HEAD);
    for subcommand in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        section(subcommand, "##", &mut page);
    }
    page.push_str("## Options of every command\n\n");
    options(whole.get_arguments(), true, &mut page);
    page
}

const HEAD: &str = include_str!("docs.md");

fn section(command: &Command, level: &str, page: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).replace("kubectl-jct", "kubectl jct");
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{level} {name}\n\n{}.\n", command.get_about().map(ToString::to_string).unwrap_or_default());
    let subcommands: Vec<&Command> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if subcommands.is_empty() {
        options(command.get_arguments(), false, page);
    }
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(page, "{after}\n");
    }
    for subcommand in subcommands {
        section(subcommand, &format!("{level}#"), page);
    }
}

/// A table of arguments: those of every command, or all others.
fn options<'a>(arguments: impl Iterator<Item = &'a Arg>, global: bool, page: &mut String) {
    let own: Vec<&Arg> =
        arguments.filter(|argument| is_shown(argument) && argument.is_global_set() == global).collect();
    if own.is_empty() {
        return;
    }
    page.push_str("| | |\n|---|---|\n");
    for argument in own {
        let help =
            argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(page, "| `{}` | {help}{} |", called(argument), more(argument));
    }
    page.push('\n');
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

/// An argument as it is written: `-n, --namespace NAME`.
fn called(argument: &Arg) -> String {
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let value = value.unwrap_or_else(|| argument.get_id().to_string().to_uppercase());
    if argument.is_positional() {
        return value.to_uppercase();
    }
    let names =
        [argument.get_short().map(|short| format!("-{short}")), argument.get_long().map(|long| format!("--{long}"))];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if takes_value { format!("{names} {}", value.to_uppercase()) } else { names }
}

/// Its values, default and variable.
fn more(argument: &Arg) -> String {
    let mut more = String::new();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(more, ": {}", values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(more, "; {} by default", defaults.join(", "));
    }
    if let Some(variable) = argument.get_env().and_then(|name| name.to_str()) {
        let _ = write!(more, " (`{variable}`)");
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_is_told_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(completion(shell)).unwrap();
            for subcommand in command().get_subcommands() {
                assert!(text.contains(subcommand.get_name()), "{shell}: {}", subcommand.get_name());
            }
        }
        let page = String::from_utf8(man().unwrap()).unwrap();
        assert!(page.starts_with(".ie"), "roff");
        for section in [".SH \"KUBECTL JCT RUN\"", ".SH \"KUBECTL JCT TRACE VERIFY\"", "the gate denies the Task"] {
            assert!(page.contains(section), "{section}: {page}");
        }
    }
}
