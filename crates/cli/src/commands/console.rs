//! `kubectl jct console`.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use clap::Args;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::DONE;
use crate::connect::transport::Transport;
use crate::connect::{Context, session};
use crate::tasks::encoded;

/// How long the end of the Session is waited for: it ends by itself as well.
const GOODBYE: Duration = Duration::from_secs(2);
/// The most that is read of an answer.
const MOST: usize = 64 << 10;

/// Arguments of `kubectl jct console`.
#[derive(Args, Debug)]
pub struct ConsoleArgs {
    /// Print the link to sign in by, and open no browser; it is of use once, within a minute
    #[arg(long, visible_alias = "url")]
    pub no_open: bool,

    /// The port of this machine that the console is at; any free one by default
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub port: u16,
}

/// Runs it, until it is interrupted.
///
/// # Errors
/// If the console can't be reached.
pub async fn run(args: &ConsoleArgs, context: &Context) -> anyhow::Result<u8> {
    let transport = Transport::find(context).await?;
    if let Transport::Proxy { .. } = transport {
        bail!(
            "the console needs a port-forward: ask for the right to create pods/portforward in namespace {:?}, or open the console \
             where it is published, and sign in there",
            context.operator_namespace
        );
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    let listener = listener.with_context(|| format!("cannot listen on port {} of this machine", args.port))?;
    let host = listener.local_addr().context("the port is not known")?.to_string();
    let token = session::token(context).await?;
    let served = serve(args, context, &transport, &listener, &host, &token).await;
    // With it, who is signed in by it is so no more.
    let _ = timeout(GOODBYE, call(&transport, Method::DELETE, "/session", &host, &token, "")).await;
    served.map(|()| DONE)
}

async fn serve(
    args: &ConsoleArgs,
    context: &Context,
    transport: &Transport,
    listener: &TcpListener,
    host: &str,
    token: &str,
) -> anyhow::Result<()> {
    let form = format!("namespace={}", encoded(&context.namespace));
    let made = call(transport, Method::POST, "/console/codes", host, token, &form).await?;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    if text("code").is_empty() {
        bail!("the operator has no console: it is of an earlier version");
    }
    let link = format!("http://{host}{}#code={}", text("path"), text("code"));
    let opened = if args.no_open { None } else { open(&link) };
    match &opened {
        Some(_) => super::put(&format!("The console is at http://{host}/console until you press Ctrl-C.\n"))?,
        None => super::put(&format!("{link}\n"))?,
    }
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(()),
            accepted = listener.accept() => {
                let (near, _) = accepted.context("no connection can be accepted")?;
                tokio::spawn(connect(transport.clone(), near));
            }
        }
    }
}

/// Hands a connection on to the operator. One that breaks off is the browser's to make again.
async fn connect(transport: Transport, mut near: TcpStream) {
    let _ = near.set_nodelay(true);
    match transport.stream().await {
        Ok((mut far, _forward)) => drop(tokio::io::copy_bidirectional(&mut near, &mut far).await),
        Err(error) => eprintln!("kubectl jct: {error:#}"),
    }
}

async fn call(
    transport: &Transport,
    method: Method,
    path: &str,
    host: &str,
    token: &str,
    form: &str,
) -> anyhow::Result<Value> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, host).header("x-jct-token", token);
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (head, mut body) = transport.send(request.body(Bytes::from(form.to_owned()))?).await?.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.context("the answer breaks off")?.into_data() {
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() > MOST {
            bail!("{path} answers with too much");
        }
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if !head.status.is_success() {
        let message =
            answer["detail"].as_str().map_or_else(|| format!("the operator answers {}", head.status), str::to_owned);
        bail!("{message}");
    }
    Ok(answer)
}

/// Opens a browser at `link`, by a page that only this user can read: arguments of programs are for everybody on the machine to see.
/// None if there is no browser; else what the browser has to read meanwhile.
fn open(link: &str) -> Option<tempfile::NamedTempFile> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, Into::into);
    let mut page = tempfile::Builder::new().prefix("kubectl-jct-").suffix(".html").tempfile_in(folder).ok()?;
    // The link is of our own making: there is nothing in it that would have to be escaped.
    write!(page, "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={link}\"><title>JCT</title>").ok()?;
    let chosen = std::env::var("BROWSER").unwrap_or_default();
    let usual = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let programs = [chosen.as_str(), usual].into_iter().filter(|program| !program.is_empty());
    for program in programs {
        let started = Command::new(program)
            .arg(page.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if started.is_ok() {
            return Some(page);
        }
    }
    None
}
