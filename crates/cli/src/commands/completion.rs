//! `kubectl jct completion`.

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use crate::DONE;
use crate::docs;

/// Arguments of `kubectl jct completion`.
#[derive(Args, Debug)]
#[command(
    after_help = "source <(kubectl jct completion bash) completes kubectl-jct. For `kubectl jct` save the output of `kubectl jct \
                  completion kubectl` as kubectl_complete-jct on your PATH, executable."
)]
pub struct CompletionArgs {
    /// The shell; man prints the manual page, kubectl a program that completes `kubectl jct`
    pub shell: Wanted,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// For bash.
    Bash,
    /// For zsh.
    Zsh,
    /// For fish.
    Fish,
    /// The manual page.
    Man,
    /// For `kubectl jct`, in every shell that completes kubectl.
    Kubectl,
}

/// Runs it.
///
/// # Errors
/// If it can't be written.
pub fn run(args: &CompletionArgs) -> anyhow::Result<u8> {
    let bytes = match args.shell {
        Wanted::Bash => docs::completion(Shell::Bash),
        Wanted::Zsh => docs::completion(Shell::Zsh),
        Wanted::Fish => docs::completion(Shell::Fish),
        Wanted::Man => docs::man()?,
        Wanted::Kubectl => docs::KUBECTL_COMPLETE.as_bytes().to_vec(),
    };
    super::put_bytes(&bytes)?;
    Ok(DONE)
}
