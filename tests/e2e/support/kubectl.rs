//! Commands, where the way of a person at a terminal is what is tested, or no client does it.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs a command with `stdin`; its standard output, or its standard error if it fails.
pub async fn run(command: &str, args: &[&str], stdin: &str) -> Result<String, String> {
    let mut child = Command::new(command)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command}: {error}"));
    let mut pipe = child.stdin.take().unwrap();
    // A command that does not read its input closes the pipe early.
    let _ = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Runs kubectl, which must succeed; its output.
pub async fn kubectl(args: &[&str]) -> String {
    run("kubectl", args, "").await.unwrap_or_else(|error| panic!("kubectl {}: {error}", args.join(" ")))
}

/// Runs helm, which must succeed; its output.
pub async fn helm(args: &[&str]) -> String {
    run("helm", args, "").await.unwrap_or_else(|error| panic!("helm {}: {error}", args.join(" ")))
}
