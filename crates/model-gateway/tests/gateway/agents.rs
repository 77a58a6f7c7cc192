//! Agent programs, unmodified, without network and key: behind the socket proxy, with relay, broker and the scripted model.
//!
//! Not in every run, for the programs are large (1.3 GB). From npm in `$AGENTS`; `agents codex` runs one of them alone:
//!
//! ```text
//! npm install --prefix $AGENTS @openai/codex@0.171.0-linux-x64 opencode-linux-x64@1.18.33 \
//!   @anthropic-ai/claude-code-linux-x64@2.1.332 @google/gemini-cli@0.61.0
//! cargo build -p jct-socket-proxy
//! JCT_AGENTS=$AGENTS cargo test -p jct-model-gateway --test gateway -- --ignored --nocapture --test-threads 1 agents
//! ```

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use jct_model_gateway::budget::Limits;
use jct_model_gateway::record::UsageSource;
use rstest::rstest;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::process::Command;

use crate::support::{Bench, usd};

const PORT: u16 = 8080;

/// The folder that the packages were installed in.
fn installed(path: &str) -> PathBuf {
    let folder = std::env::var_os("JCT_AGENTS").expect("JCT_AGENTS names the folder of the agent programs");
    PathBuf::from(folder).join("node_modules").join(path)
}

/// A folder for a program, and the relay's socket.
struct Place {
    bench: Bench,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let folder = tempfile::tempdir().unwrap();
        for name in ["work", "home"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        bench.fake.script().folder = folder.path().join("work").display().to_string();
        let listener = UnixListener::bind(folder.path().join("relay")).unwrap();
        let relay = bench.relay.clone();
        tokio::spawn(async move { relay.listen(listener).await });
        Self { bench, folder }
    }

    fn command(&self, agent: &str) -> Command {
        let own = std::env::current_exe().unwrap();
        let proxy = own.ancestors().nth(2).unwrap().join("socket-proxy");
        assert!(proxy.exists(), "cargo build -p jct-socket-proxy");
        let mut command = Command::new(proxy);
        command.arg(PORT.to_string()).arg(self.folder.path().join("relay")).env_clear();
        let home = self.folder.path().join("home");
        command.env("PATH", "/usr/bin:/bin").env("HOME", &home).env("TMPDIR", &home);
        command.current_dir(self.folder.path().join("work")).stdin(Stdio::null()).kill_on_drop(true);
        let url = format!("http://127.0.0.1:{PORT}/v1");
        match agent {
            "codex" => {
                let provider = format!(
                    r#"model_providers.jct={{name="JCT",base_url="{url}",wire_api="responses",env_key="OPENAI_API_KEY"}}"#
                );
                command.env("CODEX_HOME", &home).env("OPENAI_API_KEY", "jct");
                command.arg(installed("@openai/codex/vendor/x86_64-unknown-linux-musl/bin/codex"));
                command.args(["exec", "--json", "--ephemeral", "--skip-git-repo-check"]);
                command.args([
                    "--dangerously-bypass-approvals-and-sandbox",
                    "-c",
                    "model_provider=jct",
                    "-c",
                    &provider,
                ]);
                // Its web search stays on: the broker takes it out.
                command.args(["-m", "gpt", "Write hello.txt"]);
            }
            "opencode" => {
                let config = serde_json::json!({
                    "model": "jct/jct/fake", "small_model": "jct/jct/fake", "autoupdate": false, "share": "disabled",
                    "enabled_providers": ["jct"], "permission": {"*": "allow"},
                    "provider": {"jct": {"npm": "@ai-sdk/openai-compatible", "name": "JCT",
                        "options": {"baseURL": url, "apiKey": "jct"},
                        "models": {"jct/fake": {"name": "fake", "limit": {"context": 200_000, "output": 8000}}}}},
                });
                command.env("OPENCODE_CONFIG_CONTENT", config.to_string());
                for what in ["MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS"] {
                    command.env(format!("OPENCODE_DISABLE_{what}"), "1");
                }
                command.arg(installed("opencode-linux-x64/bin/opencode"));
                command.args(["run", "--format", "json", "Write hello.txt"]);
            }
            "claude" => {
                command
                    .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{PORT}"))
                    .env("ANTHROPIC_AUTH_TOKEN", "jct");
                command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
                // As root it refuses otherwise.
                command.env("IS_SANDBOX", "1");
                command.arg(installed("@anthropic-ai/claude-code-linux-x64/claude"));
                command.args(["--print", "--output-format", "json", "--dangerously-skip-permissions", "--bare"]);
                command.args(["--model", "claude", "--no-session-persistence", "Write hello.txt"]);
            }
            "gemini" => {
                let settings = home.join(".gemini");
                std::fs::create_dir_all(&settings).unwrap();
                let selected = r#"{"security":{"auth":{"selectedType":"gemini-api-key"}}}"#;
                std::fs::write(settings.join("settings.json"), selected).unwrap();
                command.env("GOOGLE_GEMINI_BASE_URL", format!("http://127.0.0.1:{PORT}")).env("GEMINI_API_KEY", "jct");
                command.env("GEMINI_TELEMETRY_ENABLED", "false");
                command.arg("node").arg(installed("@google/gemini-cli/bundle/gemini.js"));
                command.args([
                    "--output-format",
                    "json",
                    "--yolo",
                    "--skip-trust",
                    "-m",
                    "gemini",
                    "-p",
                    "Write hello.txt",
                ]);
            }
            other => panic!("{other}"),
        }
        command
    }

    /// Runs a program to its end, or for so long.
    async fn run(&self, agent: &str, seconds: u64) -> (Option<Output>, Duration) {
        let began = Instant::now();
        let output = tokio::time::timeout(Duration::from_secs(seconds), self.command(agent).output()).await;
        (output.ok().map(Result::unwrap), began.elapsed())
    }

    async fn show(&self, agent: &str, took: Duration) {
        println!("{agent}: {took:?}, {} spent", self.bench.account().spent.usd);
        for exchange in self.bench.exchanges().await {
            println!("  {}", exchange.to_line().unwrap());
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs agent programs"]
async fn agents_edit_a_file(#[values("codex", "opencode", "claude", "gemini")] agent: &str) {
    let place = Place::new().await;
    let (output, took) = place.run(agent, 60).await;
    let output = output.expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    place.show(agent, took).await;
    let written = std::fs::read_to_string(place.folder.path().join("work/hello.txt"));
    assert!(output.status.success(), "{said}");
    assert_eq!(written.unwrap_or_else(|error| panic!("{error}: {said}")), "written by the fake model\n");
    let exchanges = place.bench.exchanges().await;
    assert!(exchanges.len() >= 2 && exchanges.iter().all(|exchange| exchange.usage == UsageSource::Reported));
    for request in place.bench.fake.requests() {
        let tools = request.json()["tools"].to_string();
        assert!(!tools.contains("web_search\",\"external"), "{tools}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs agent programs"]
async fn agents_stop_when_the_budget_is_used_up(#[values("codex", "opencode", "claude", "gemini")] agent: &str) {
    let place = Place::new().await;
    place.bench.limit(Limits { usd: Some(usd(0.000_1)), ..Limits::default() });
    let (output, took) = place.run(agent, 60).await;
    place.show(agent, took).await;
    let output = output.expect("it ends by itself");
    println!("  {}: {}", output.status, String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default());
    assert!(place.bench.fake.requests().is_empty());
    assert!(place.bench.exchanges().await.len() <= 3);
}
