//! `fake-model ADDRESS [FAULT…]`: the scripted model server, at `127.0.0.1:PORT` or at the path of a Unix socket. The program's
//! folder and file come from `FAKE_FOLDER` and `FAKE_FILE`, what is to be in it from `FAKE_CONTENT`, a command in the place of that from
//! `FAKE_COMMAND`, what it says from `FAKE_TEXT`; with `FAKE_KEY` no other key is
//! answered. Faults are those of the first answers, `always:FAULT` of all.

use std::path::Path;
use std::process::ExitCode;

use jct_fake_model::{FakeModel, Script};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-model: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: fake-model ADDRESS [FAULT…]")?;
    let mut script = Script::default();
    if let Ok(folder) = std::env::var("FAKE_FOLDER") {
        script.folder = folder;
    }
    if let Ok(file) = std::env::var("FAKE_FILE") {
        script.file = file;
    }
    if let Ok(content) = std::env::var("FAKE_CONTENT") {
        script.content = content;
    }
    script.command = std::env::var("FAKE_COMMAND").ok();
    if let Ok(text) = std::env::var("FAKE_TEXT") {
        script.text = text;
    }
    script.key = std::env::var("FAKE_KEY").ok();
    for fault in arguments {
        match fault.strip_prefix("always:") {
            Some(fault) => script.always = Some(fault.parse()?),
            None => script.faults.push_back(fault.parse()?),
        }
    }
    let fake = FakeModel::new(script);
    if address.starts_with('/') {
        fake.serve_unix(Path::new(&address)).await?;
    } else {
        fake.serve_tcp(TcpListener::bind(&address).await?).await?;
    }
    Ok(())
}
