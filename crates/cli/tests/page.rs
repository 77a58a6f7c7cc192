//! docs/cli.md is what the arguments make.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

#[test]
fn the_page_of_the_command_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = jct_cli::docs::page();
    if std::env::var_os("JCT_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/cli.md is stale: run `make generate`");
}

#[test]
fn every_command_has_its_section() {
    let page = jct_cli::docs::page();
    for command in jct_cli::command().get_subcommands() {
        assert!(page.contains(&format!("## kubectl jct {}\n", command.get_name())), "{}", command.get_name());
    }
}
